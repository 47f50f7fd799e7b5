package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// testLoader returns a loader as a child has it, and its log.
func testLoader(t *testing.T, preload *registrations, items ...guc.Item) (*loader, *bytes.Buffer) {
	t.Helper()
	var buf bytes.Buffer
	log := elog.NewLogger(&buf)
	log.Configure("", elog.Debug1, elog.DestinationStderr)
	store, reports := guc.NewChildStore(items, settings.Definitions()...)
	if len(reports) != 0 {
		t.Fatal(reports)
	}
	l := newLoader(nil, &ownSettings{store: store, log: log}, log)
	l.preload = preload
	return l, &buf
}

// register makes a library part of this program for one test.
func register(t *testing.T, l Library) {
	t.Helper()
	Register(l)
	t.Cleanup(func() {
		registry.Lock()
		defer registry.Unlock()
		delete(registry.libraries, l.Name)
	})
}

func TestFunctionLookupErrorsOfSPEC12(t *testing.T) {
	some := func(context.Context, *Worker) error { return nil }
	register(t, Library{Name: "lib", Functions: Functions{"f": some, "g": some, "none": nil}, ManualSignals: []string{"g"}})
	l, _ := testLoader(t, nil)
	for _, tt := range []struct {
		library, function string
		code              elog.SQLState
		want              string
	}{
		{"postgres", "nope", elog.InternalError, `internal function "nope" not found`},
		{"lib", "nope", elog.UndefinedFunction, `could not find function "nope" in file "lib"`},
		{"lib", "none", elog.UndefinedFunction, `could not find function "none" in file "lib"`},
	} {
		_, err := l.lookupFunction(tt.library, tt.function)
		if elog.CodeOf(err) != tt.code || err.Error() != tt.want {
			t.Errorf("got %v", err)
		}
	}
	for function, manual := range map[string]bool{"f": false, "g": true} {
		if e, err := l.lookupFunction("lib", function); err != nil || e.manualSignals != manual {
			t.Errorf("%s: got %v, %v", function, e.manualSignals, err)
		}
	}
}

func TestInitRunsOncePerProcess(t *testing.T) {
	runs := 0
	register(t, Library{Name: "once", Init: func(*Init) error { runs++; return nil }})
	l, log := testLoader(t, nil)
	l.asked = handshake.Library{Name: "$libdir/once", CompiledIn: "once"}
	for _, name := range []string{"once", "once", "$libdir/once"} {
		if _, err := l.load(name); err != nil {
			t.Fatal(err)
		}
	}
	if runs != 1 {
		t.Errorf("it ran %d times", runs)
	}
	if n := strings.Count(log.String(), `DEBUG:  loaded library "once"`); n != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// SPEC §2, static registration: who may register where.
func TestRegistrationByRole(t *testing.T) {
	w := BackgroundWorker{Name: "w", Flags: ShmemAccess}
	var kept *Init
	register(t, Library{Name: "lib", Init: func(p *Init) error { kept = p; p.RegisterBackgroundWorker(w); return nil }})

	t.Run("in the preload child it counts", func(t *testing.T) {
		r := &registrations{limit: 1}
		l, log := testLoader(t, r)
		if _, err := l.loadAs("lib", true); err != nil {
			t.Fatal(err)
		}
		if len(r.workers) != 1 || r.workers[0].Type != "w" || !kept.PreloadInProgress() {
			t.Errorf("got %+v", r.workers)
		}
		if !strings.Contains(log.String(), `DEBUG:  registering background worker "w"`) {
			t.Errorf("log:\n%s", log)
		}
	})
	t.Run("in a worker that preloads it is silently ignored", func(t *testing.T) {
		l, log := testLoader(t, nil)
		if _, err := l.loadAs("lib", true); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), "background worker") {
			t.Errorf("log:\n%s", log)
		}
	})
	t.Run("elsewhere it is refused", func(t *testing.T) {
		l, log := testLoader(t, nil)
		if _, err := l.load("lib"); err != nil {
			t.Errorf("the refusal has become an error of Init: %v", err)
		}
		if !strings.Contains(log.String(), `LOG:  background worker "w": must be registered in "shared_preload_libraries"`) {
			t.Errorf("log:\n%s", log)
		}
	})
	t.Run("elsewhere its SQLSTATE is 0A000", func(t *testing.T) {
		elsewhere := &Init{log: elog.NewLogger(io.Discard)}
		if refusal := elsewhere.register(w); refusal == nil || refusal.Code != elog.FeatureNotSupported {
			t.Errorf("got %v", refusal)
		}
	})
	t.Run("after Init it is refused", func(t *testing.T) {
		var log bytes.Buffer
		kept.log = elog.NewLogger(&log)
		kept.RegisterBackgroundWorker(w)
		if !strings.Contains(log.String(), `LOG:  cannot register background worker "w" after shmem init`) {
			t.Errorf("log:\n%s", &log)
		}
	})
}

func TestTooManyWorkersCountsRefusedOnesToo(t *testing.T) {
	r := &registrations{limit: 1}
	w := BackgroundWorker{Name: "w", Flags: ShmemAccess}
	if e := r.add(BackgroundWorker{Name: "insane"}, Postgres18); e == nil || r.count != 0 {
		t.Errorf("got %v, %d", e, r.count)
	}
	if e := r.add(w, Postgres18); e != nil {
		t.Error(e)
	}
	e := r.add(w, Postgres18)
	if e == nil || e.Code != elog.ConfigurationLimitExceeded || e.Detail != "Up to 1 background worker can be registered with the current settings." ||
		e.Hint != "Consider increasing the configuration parameter \"max_worker_processes\"." {
		t.Errorf("got %+v", e)
	}
	if e := (&registrations{}).add(w, Postgres18); e.Detail != "Up to 0 background workers can be registered with the current settings." {
		t.Errorf("got %q", e.Detail)
	}
}

func TestCustomSettings(t *testing.T) {
	type values struct {
		i func() int
		b func() bool
		s func() string
		e func() string
		d func() time.Duration
	}
	var v values
	register(t, Library{Name: "lib", Init: func(p *Init) error {
		v = values{
			p.DefineCustomInt(IntVariable{Name: "x.i", Default: 1, Max: 9}),
			p.DefineCustomBool(BoolVariable{Name: "x.b", Default: true}),
			p.DefineCustomString(StringVariable{Name: "x.s", Default: "s"}),
			p.DefineCustomEnum(EnumVariable{Name: "x.e", Default: "one", Options: []string{"one", "two"}}),
			p.DefineCustomDuration(DurationVariable{Name: "x.d", Default: time.Minute, Unit: time.Second}),
		}
		return nil
	}})
	l, _ := testLoader(t, &registrations{},
		guc.Item{Name: "x.i", Value: "3"}, guc.Item{Name: "x.b", Value: "off"}, guc.Item{Name: "x.e", Value: "TWO"}, guc.Item{Name: "x.d", Value: "1500 ms"})
	if _, err := l.loadAs("lib", true); err != nil {
		t.Fatal(err)
	}
	if v.i() != 3 || v.b() || v.s() != "s" || v.e() != "two" || v.d() != 2*time.Second {
		t.Errorf("got %d, %v, %q, %q, %v", v.i(), v.b(), v.s(), v.e(), v.d())
	}
	if n := len(l.preload.definitions); n != 5 {
		t.Errorf("%d definitions for the postmaster", n)
	}
}

func TestDurationsWithoutBoundsTakeADayInEveryUnit(t *testing.T) {
	for _, unit := range []time.Duration{0, time.Millisecond, time.Second, time.Minute} {
		t.Run(unit.String(), func(t *testing.T) {
			get, _ := defineDuration(t, DurationVariable{Default: time.Minute, Unit: unit}, "1 d")
			if got := get(); got != 24*time.Hour {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestBoundsOfDurationsCountUnits(t *testing.T) {
	for unit, steps := range map[time.Duration]int64{0: 120_000, time.Second: 120, time.Minute: 2} {
		for value, want := range map[string]time.Duration{
			"2 min": 2 * time.Minute, "4 min": 4 * time.Minute, "1 min": 3 * time.Minute, "5 min": 3 * time.Minute,
		} {
			t.Run(unit.String()+" "+value, func(t *testing.T) {
				get, d := defineDuration(t, DurationVariable{Default: 3 * time.Minute, Min: 2 * time.Minute, Max: 4 * time.Minute, Unit: unit}, value)
				if got := get(); got != want || d.Min != steps || d.Max != 2*steps {
					t.Errorf("got %v with the bounds %d .. %d, want %v", got, d.Min, d.Max, want)
				}
			})
		}
	}
}

// defineDuration defines a setting that the configuration has a value for.
func defineDuration(t *testing.T, v DurationVariable, value string) (func() time.Duration, guc.Definition) {
	t.Helper()
	var get func() time.Duration
	v.Name = "x.d"
	register(t, Library{Name: "lib", Init: func(p *Init) error { get = p.DefineCustomDuration(v); return nil }})
	l, _ := testLoader(t, &registrations{}, guc.Item{Name: v.Name, Value: value})
	if _, err := l.loadAs("lib", true); err != nil {
		t.Fatal(err)
	}
	return get, l.preload.definitions[0]
}

func TestDefinitionsThatMakeNoSenseEndInit(t *testing.T) {
	for name, init := range map[string]func(p *Init){
		"no dot":  func(p *Init) { p.DefineCustomInt(IntVariable{Name: "naptime"}) },
		"default": func(p *Init) { p.DefineCustomInt(IntVariable{Name: "x.y", Default: 0, Min: 1, Max: 2}) },
		"twice": func(p *Init) {
			p.DefineCustomBool(BoolVariable{Name: "x.y"})
			p.DefineCustomBool(BoolVariable{Name: "x.y"})
		},
		"unit":           func(p *Init) { p.DefineCustomDuration(DurationVariable{Name: "x.y", Unit: time.Hour}) },
		"late and fixed": func(p *Init) { p.DefineCustomBool(BoolVariable{Name: "x.y", Context: PGCPostmaster}) },
	} {
		t.Run(name, func(t *testing.T) {
			register(t, Library{Name: "lib", Init: func(p *Init) error { init(p); return nil }})
			l, _ := testLoader(t, nil)
			l.settings.store.EndStartup()
			_, err := l.load("lib")
			if err == nil || !strings.HasPrefix(err.Error(), `could not initialize library "lib": `) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestParallelEntryPoint(t *testing.T) {
	var got int32
	register(t, Library{Name: "lib", Functions: Functions{"f": func(_ context.Context, w *Worker) error {
		got = ParallelWorkerNumber(w.Entry())
		return nil
	}}})
	extra, err := ParallelExtra(7, "lib", "f")
	if err != nil {
		t.Fatal(err)
	}
	l, _ := testLoader(t, nil)
	w := &Worker{entry: BackgroundWorker{Extra: extra}, loader: l}
	if err := parallelWorkerMain(t.Context(), w); err != nil || got != 7 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := ParallelExtra(0, strings.Repeat("x", 100), strings.Repeat("y", 23)); elog.CodeOf(err) != elog.ProgramLimitExceeded {
		t.Errorf("got %v", err)
	}
}

func TestRegisterRefusesImpossibleLibraries(t *testing.T) {
	register(t, Library{Name: "taken"})
	for _, name := range []string{"", "postgres", "taken"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was accepted", name)
				}
			}()
			Register(Library{Name: name})
		}()
	}
}

func TestAnInitThatLeavesItsGoroutineIsAnError(t *testing.T) {
	register(t, Library{Name: "lib", Init: func(*Init) error { runtime.Goexit(); return nil }})
	l, _ := testLoader(t, nil)
	if _, err := l.load("lib"); err == nil || !strings.Contains(err.Error(), "runtime.Goexit") {
		t.Errorf("got %v", err)
	}
}

// unprintable is an error whose text can't be had.
type unprintable struct{}

func (unprintable) Error() string { panic("no text") }

func TestWhateverMainReturnsIsReported(t *testing.T) {
	var missing *elog.ErrorData
	w := testWorker(t)
	coded := elog.New(elog.Error, "22012", "division by zero")
	for name, tt := range map[string]struct {
		main MainFunc
		want elog.SQLState
	}{
		"an error":              {func(context.Context, *Worker) error { return coded }, "22012"},
		"a wrapped error":       {func(context.Context, *Worker) error { return fmt.Errorf("x: %w", coded) }, "22012"},
		"a panic with an error": {func(context.Context, *Worker) error { panic(coded) }, "22012"},
		"a panic with a nil":    {func(context.Context, *Worker) error { panic(nil) }, elog.InternalError},
		"a typed nil":           {func(context.Context, *Worker) error { return missing }, elog.InternalError},
		"an unprintable error":  {func(context.Context, *Worker) error { return unprintable{} }, elog.InternalError},
	} {
		t.Run(name, func(t *testing.T) {
			err := w.supervise(entryPoint{main: tt.main, manualSignals: true})
			if report := w.describe(err); report == nil || report.Code != tt.want {
				t.Errorf("got %+v", report)
			}
		})
	}
}

func TestAPanicIsReportedWithTheStackOfItsOrigin(t *testing.T) {
	w := testWorker(t)
	report := w.describe(w.supervise(entryPoint{main: panickingMain, manualSignals: true}))
	if report.Level != elog.Error || report.Message != "panic: aua (SQLSTATE XX000)" || !strings.Contains(report.Detail, "panickingMain") {
		t.Errorf("got %+v", report)
	}
	if strings.HasSuffix(report.Detail, "\n") {
		t.Errorf("the detail %q ends with an empty line", report.Detail)
	}
}

func panickingMain(context.Context, *Worker) error { panic("aua") }

func testWorker(t *testing.T) *Worker {
	t.Helper()
	entry := BackgroundWorker{Flags: ShmemAccess}
	segment, err := shmem.Create(1, 1)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // then it is one without a host
		return newWorker(shmem.ProcWorker, entry, nil, shmem.PrivateProc())
	case err != nil:
		t.Fatal(err)
	}
	segment.Proc(0).Reset(shmem.ProcWorker)
	return newWorker(shmem.ProcWorker, entry, segment, segment.Proc(0))
}

func TestWaitLatchReturnsWhatHappened(t *testing.T) {
	w := testWorker(t)
	const all = LatchSet | Timeout | PostmasterDeath
	check := func(what string, events WakeEvents, timeout time.Duration, want WakeEvents) {
		t.Helper()
		if got, err := w.WaitLatch(t.Context(), events, timeout, WaitEvent{}); err != nil || got != want {
			t.Errorf("%s: got %b, %v; want %b", what, got, err, want)
		}
	}
	check("timeout", all, time.Millisecond, Timeout)
	check("zero timeout", all, 0, Timeout)
	w.SetLatch()
	check("set", all, time.Hour, LatchSet)
	check("still set", all, time.Hour, LatchSet)
	check("set, but not asked for", Timeout|PostmasterDeath, time.Millisecond, Timeout)
	w.ResetLatch()
	go w.SetLatch()
	check("set later", LatchSet|PostmasterDeath, 0, LatchSet)
	w.ResetLatch()
	close(w.postmasterDead)
	check("postmaster death", all, time.Hour, PostmasterDeath)
}

func TestWaitLatchReturnsTheCauseOfAnEndedContext(t *testing.T) {
	w := testWorker(t)
	cause := errors.New("enough")
	for _, own := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(context.Background())
		if own {
			ctx, cancel = w.ctx, w.cancel
		}
		go cancel(cause)
		if _, err := w.WaitLatch(ctx, LatchSet|PostmasterDeath, 0, WaitEvent{}); !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
		if _, err := w.WaitLatch(ctx, Timeout|PostmasterDeath, time.Hour, WaitEvent{}); !errors.Is(err, cause) {
			t.Errorf("without the latch: got %v", err)
		}
	}
}

func TestWaitLatchRefusesToOutliveTheHost(t *testing.T) {
	_, err := testWorker(t).WaitLatch(t.Context(), LatchSet|Timeout, time.Hour, WaitEvent{})
	if elog.CodeOf(err) != elog.InvalidParameterValue {
		t.Errorf("got %v", err)
	}
}

func TestWaitLatchIsForOneGoroutine(t *testing.T) {
	w := testWorker(t)
	w.waiting.Lock()
	if _, err := w.WaitLatch(t.Context(), LatchSet|PostmasterDeath, 0, WaitEvent{}); elog.CodeOf(err) != elog.ObjectNotInPrerequisite {
		t.Errorf("got %v", err)
	}
}
