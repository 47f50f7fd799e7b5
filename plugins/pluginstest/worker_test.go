package pluginstest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

func TestAWorkerEndsAsUnderAHost(t *testing.T) {
	refusal := elog.New(elog.Error, elog.InsufficientPrivilege, "permission denied").WithHint("Ask somebody.")
	for name, tt := range map[string]struct {
		main  plugins.MainFunc
		code  int
		state elog.SQLState
		panic any
		log   string
	}{
		"nil":          {func(context.Context, *plugins.Worker) error { return nil }, 0, "00000", nil, ""},
		"error":        {func(context.Context, *plugins.Worker) error { return errors.New("no") }, 1, "XX000", nil, "ERROR:  no (SQLSTATE XX000)"},
		"report":       {func(context.Context, *plugins.Worker) error { return refusal }, 1, "42501", nil, "ERROR:  permission denied (SQLSTATE 42501)\nHINT:  Ask somebody."},
		"panic":        {func(context.Context, *plugins.Worker) error { panic("help") }, 1, "XX000", "help", "ERROR:  panic: help (SQLSTATE XX000)\nDETAIL:  goroutine"},
		"error thrown": {func(context.Context, *plugins.Worker) error { panic(refusal) }, 1, "42501", refusal, "ERROR:  panic: permission denied (SQLSTATE 42501)"},
		"nil report":   {func(context.Context, *plugins.Worker) error { var none *elog.ErrorData; return none }, 1, "XX000", nil, "returned an unusable error"},
		"Goexit":       {func(context.Context, *plugins.Worker) error { runtime.Goexit(); return nil }, 1, "XX000", nil, "runtime.Goexit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := pluginstest.Start(t, of(tt.main), "main", pluginstest.Options{})
			exit := w.Wait(t)
			if exit.Code != tt.code || exit.SQLState != tt.state || exit.Panic != tt.panic || (exit.Err == nil) != (tt.code == 0) {
				t.Errorf("got %+v", exit)
			}
			if tt.log == "" {
				if log := w.Log(); len(log) != 0 {
					t.Errorf("it has logged %v", log)
				}
				return
			}
			w.AwaitLog(t, tt.log)
		})
	}
}

func TestSIGTERMEndsAWorkerWith57P01(t *testing.T) {
	t.Parallel()
	w := pluginstest.Start(t, of(func(ctx context.Context, w *plugins.Worker) error {
		_, err := nap(ctx, w)
		return err
	}), "main", pluginstest.Options{})
	w.AwaitWait(t)
	w.Signal(t, unix.SIGTERM)
	if exit := w.Wait(t); exit.Code != 1 || exit.SQLState != elog.AdminShutdown || elog.CodeOf(exit.Err) != elog.AdminShutdown {
		t.Errorf("got %+v", exit)
	}
	r := w.AwaitLog(t, "due to administrator command")
	want := pluginstest.Record{
		Level: elog.Fatal, SQLState: elog.AdminShutdown, Message: "terminating background worker \"main\" due to administrator command",
		Worker: "main", Pid: os.Getpid(),
	}
	if r != want || len(w.Log()) != 1 {
		t.Errorf("got %v", w.Log())
	}
	w.Signal(t, unix.SIGTERM) // to nobody
}

// Time passes for the machine here, but not for the worker.
func TestATimeOutPassesByAdvanceOnly(t *testing.T) {
	t.Parallel()
	var rounds atomic.Int32
	w := pluginstest.Start(t, of(func(ctx context.Context, w *plugins.Worker) error {
		for {
			rounds.Add(1)
			events, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.PostmasterDeath, time.Millisecond, plugins.ExtensionWait("Round"))
			if err != nil {
				return err
			}
			if events != plugins.Timeout {
				return fmt.Errorf("events %v", events)
			}
		}
	}), "main", pluginstest.Options{})
	w.AwaitWait(t)
	<-time.After(20 * time.Millisecond) // time is what this is about
	for want := int32(1); want < 5; want++ {
		if got := rounds.Load(); got != want {
			t.Fatalf("round %d, want %d", got, want)
		}
		if ev := w.WaitEvent(); ev.Name != "Round" || ev.Class.String() != "Extension" {
			t.Errorf("it waits for %v", ev)
		}
		w.Advance(t)
	}
}

// Neither of them sleeps on the latch.
func TestAdvanceEndsAWaitWithoutTheLatchAndOneWithoutTimeIsNone(t *testing.T) {
	t.Parallel()
	w := pluginstest.Start(t, of(func(ctx context.Context, w *plugins.Worker) error {
		for range 2 {
			if events, err := w.WaitLatch(ctx, plugins.Timeout|plugins.PostmasterDeath, 0, plugins.WaitEvent{}); err != nil || events != plugins.Timeout {
				return fmt.Errorf("without time: %v, %w", events, err)
			}
		}
		events, err := w.WaitLatch(ctx, plugins.Timeout|plugins.PostmasterDeath, time.Hour, plugins.WaitEvent{})
		w.Logf(elog.Log, "got %v", events)
		return err
	}), "main", pluginstest.Options{})
	w.Advance(t)
	if exit := w.Wait(t); exit.Code != 0 {
		t.Errorf("got %+v", exit)
	}
	w.AwaitLog(t, fmt.Sprintf("got %v", plugins.Timeout))
}

// AwaitWait is of no use if it finds the wait that the latch has just ended.
func TestAfterTheLatchAwaitWaitIsTheNextWait(t *testing.T) {
	t.Parallel()
	var woken atomic.Int32
	w := pluginstest.Start(t, of(func(ctx context.Context, w *plugins.Worker) error {
		for {
			if _, err := nap(ctx, w); err != nil {
				return err
			}
			woken.Add(1)
		}
	}), "main", pluginstest.Options{})
	for want := range int32(200) {
		w.AwaitWait(t)
		if got := woken.Load(); got != want {
			t.Fatalf("woken %d times, want %d", got, want)
		}
		if want%2 == 0 {
			w.SetLatch()
		} else {
			w.Signal(t, unix.SIGUSR1)
		}
	}
}

func TestHandlersDecideWhatSignalsDo(t *testing.T) {
	t.Parallel()
	l := of(func(ctx context.Context, w *plugins.Worker) error {
		if _, err := nap(ctx, w); err != nil { // signals are blocked until here
			return err
		}
		if err := w.HandleSignal(unix.SIGTERM, plugins.SignalHandlerForShutdownRequest); err != nil {
			return err
		}
		if err := w.HandleSignal(unix.SIGUSR2, func(w *plugins.Worker) { w.Logf(elog.Log, "USR2") }); err != nil {
			return err
		}
		w.UnblockSignals()
		for !w.ShutdownRequestPending() {
			if _, err := nap(ctx, w); err != nil {
				return err
			}
		}
		return nil
	})
	l.ManualSignals = []string{"main"}
	w := pluginstest.Start(t, l, "main", pluginstest.Options{})
	w.AwaitWait(t)
	w.Signal(t, unix.SIGTERM)
	w.AwaitWait(t) // it is held back
	w.Advance(t)
	w.Signal(t, unix.SIGUSR2)
	if exit := w.Wait(t); exit.Code != 0 {
		t.Errorf("got %+v", exit)
	}
	if log := w.Log(); len(log) > 1 {
		t.Errorf("got %v", log)
	}
}

func TestWhatNeedsAHostSaysSo(t *testing.T) {
	t.Parallel()
	w := pluginstest.Start(t, of(func(ctx context.Context, w *plugins.Worker) error {
		if w.PostmasterPid() != 0 || w.BackgroundWorkers() != nil || w.UnregisteredWorkers() != nil || w.Incarnation() != "" ||
			w.HasInterruptibleWorkers() || w.TerminateBackgroundWorkersForDatabase(1) != 0 || !w.PostmasterIsAlive() {
			return errors.New("there are others")
		}
		if _, ok := w.GetBackgroundWorkerTypeByPid(1); ok {
			return errors.New("there is a process 1")
		}
		entry := w.Entry()
		_, registered := w.RegisterDynamicBackgroundWorker(entry)
		_, held := w.RegisterHeldBackgroundWorker(entry, 1)
		_, _, status := w.GetBackgroundWorkerPid(plugins.Handle{})
		_, started := w.WaitForBackgroundWorkerStartup(ctx, plugins.Handle{})
		for _, err := range []error{
			registered, held, status, started, w.ReleaseBackgroundWorker(plugins.Handle{}),
			w.TerminateBackgroundWorker(plugins.Handle{}), w.WaitForBackgroundWorkerShutdown(ctx, plugins.Handle{}),
		} {
			if e := elog.AsErrorData(err, elog.Error); e == nil || e.Code != elog.InsufficientResources || !strings.Contains(e.Hint, "without a host") {
				return fmt.Errorf("got %w", err)
			}
		}
		return nil
	}), "main", pluginstest.Options{})
	if exit := w.Wait(t); exit.Err != nil {
		t.Error(exit.Err)
	}
}

func TestAWorkerIsRegisteredAsItsLibrarySaysAndAsTheTestSays(t *testing.T) {
	t.Parallel()
	extra, _ := plugins.TextExtra("west")
	l := of(func(_ context.Context, w *plugins.Worker) error {
		e := w.Entry()
		w.Logf(elog.Log, "%s/%s/%x/%s/%d/%d/%s", e.Name, e.Type, int(e.Flags), e.StartTime, e.RestartTime, e.MainArg, plugins.ExtraText(e))
		return nil
	})
	l.Functions["other"] = l.Functions["main"]
	l.Init = func(p *plugins.Init) error {
		for i, name := range []string{"one", "two"} {
			p.RegisterBackgroundWorker(plugins.BackgroundWorker{
				Name: name, Type: "counter", Flags: plugins.ShmemAccess, RestartTime: 7, MainArg: int64(i + 1), Extra: extra,
				LibraryName: "mine", FunctionName: "main",
			})
		}
		return nil
	}
	for _, tt := range []struct {
		function string
		given    plugins.BackgroundWorker
		want     string
	}{
		{"main", plugins.BackgroundWorker{}, "one/counter/1/postmaster/7/1/west"},
		{"main", plugins.BackgroundWorker{Name: "two"}, "two/counter/1/postmaster/7/2/west"},
		{"main", plugins.BackgroundWorker{Name: "three", MainArg: 3}, "three/three/1/postmaster/7/3/west"},
		{"other", plugins.BackgroundWorker{}, "other/other/3/running/-1/0/"},
		{"other", plugins.BackgroundWorker{Name: "x", Type: "y", Flags: plugins.ShmemAccess, RestartTime: 1}, "x/y/1/postmaster/1/0/"},
	} {
		w := pluginstest.Start(t, l, tt.function, pluginstest.Options{Registration: tt.given})
		w.Wait(t)
		if log := w.Log(); len(log) != 1 || log[0].Message != tt.want {
			t.Errorf("got %v, want %s", log, tt.want)
		}
	}
}

func TestMistakesOfAnAuthorFailHisTest(t *testing.T) {
	t.Parallel()
	idle := of(func(ctx context.Context, w *plugins.Worker) error {
		_, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.ExitOnPostmasterDeath, 0, plugins.ExtensionWait("Idle"))
		return err
	})
	start := func(t testing.TB, o pluginstest.Options) *pluginstest.Worker {
		return pluginstest.Start(t, idle, "main", o)
	}
	for want, test := range map[string]func(t testing.TB){
		"HINT:  Its functions: main.":                       func(t testing.TB) { pluginstest.Start(t, idle, "man", pluginstest.Options{}) },
		"could not find function \"main\" in file \"mine\"": func(t testing.TB) { pluginstest.Start(t, of(nil), "main", pluginstest.Options{}) },
		"HINT:  The library has no functions.":              func(t testing.TB) { pluginstest.Start(t, of(nil), "main", pluginstest.Options{}) },
		"a library needs a name":                            func(t testing.TB) { pluginstest.Start(t, plugins.Library{}, "main", pluginstest.Options{}) },
		"the library name \"postgres\" is reserved": func(t testing.TB) {
			pluginstest.Start(t, plugins.Library{Name: plugins.InternalLibrary}, "ParallelWorkerMain", pluginstest.Options{})
		},
		"neither the host nor the library has a setting \"mine.nap\"": func(t testing.TB) {
			start(t, pluginstest.Options{Settings: map[string]string{"mine.nap": "1"}})
		},
		"neither the host nor the library has a setting \"mine.naps\"": func(t testing.TB) { start(t, pluginstest.Options{}).Set(t, "mine.naps", "1") },
		"configuration file \"pluginstest.Options\" contains errors": func(t testing.TB) {
			start(t, pluginstest.Options{Settings: map[string]string{"log_min_messages": "loud"}})
		},
		"could not initialize library \"mine\": no room": func(t testing.TB) {
			l := idle
			l.Init = func(*plugins.Init) error { return errors.New("no room") }
			pluginstest.Start(t, l, "main", pluginstest.Options{})
		},
		"invalid restart interval": func(t testing.TB) {
			start(t, pluginstest.Options{Registration: plugins.BackgroundWorker{RestartTime: -2}})
		},
		"waits without a time-out (Extension/Idle)": func(t testing.TB) { start(t, pluginstest.Options{}).Advance(t) },
		"it waits: Extension/Idle":                  func(t testing.TB) { start(t, pluginstest.Options{}).Wait(t) },
		"cannot be sent quit":                       func(t testing.TB) { start(t, pluginstest.Options{}).Signal(t, unix.SIGQUIT) },
		"has ended, with exit code 1 (it broke)": func(t testing.TB) {
			pluginstest.Start(t, of(func(context.Context, *plugins.Worker) error { return errors.New("it broke") }), "main", pluginstest.Options{}).AwaitWait(t)
		},
		"has ended without logging \"hello\"": func(t testing.TB) {
			pluginstest.Start(t, of(func(context.Context, *plugins.Worker) error { return nil }), "main", pluginstest.Options{}).AwaitLog(t, "hello")
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			wantFailure(t, want, test)
		})
	}
}

func TestADeafWorkerFailsItsTest(t *testing.T) {
	t.Parallel()
	hear := make(chan struct{})
	defer close(hear)
	deaf := of(func(context.Context, *plugins.Worker) error { <-hear; return nil })
	wantFailure(t, "the worker does not end on SIGTERM; goroutines:", func(t testing.TB) {
		pluginstest.Start(t, deaf, "main", pluginstest.Options{})
	})
}

func TestNothingOutlivesItsTest(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("many", func(t *testing.T) {
		for range 20 {
			w := pluginstest.Start(t, of(func(ctx context.Context, w *plugins.Worker) error {
				_, err := nap(ctx, w)
				return err
			}), "main", pluginstest.Options{})
			w.AwaitWait(t)
		}
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for runtime.NumGoroutine() > before {
		select {
		case <-tick.C:
		case <-limit:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, before there were %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
