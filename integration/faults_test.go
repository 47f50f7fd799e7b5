//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// faultsLibrary has one function for each way a worker can behave. Which
// workers it registers is told by the setting faults.workers, in JSON.
func faultsLibrary() plugins.Library {
	return plugins.Library{
		Name: "faults",
		Init: faultsInit,
		Functions: plugins.Functions{
			"return_nil":       func(context.Context, *plugins.Worker) error { return nil },
			"return_error":     func(context.Context, *plugins.Worker) error { return errors.New("something failed") },
			"return_sqlstate":  returnSQLState,
			"panic":            func(context.Context, *plugins.Worker) error { panic("at the disco") },
			"panic_elsewhere":  panicElsewhere,
			"goexit":           goexit,
			"exit_0":           func(context.Context, *plugins.Worker) error { os.Exit(0); return nil },
			"exit_1":           func(context.Context, *plugins.Worker) error { os.Exit(1); return nil },
			"exit_7":           func(context.Context, *plugins.Worker) error { os.Exit(7); return nil },
			"log_fatal":        func(context.Context, *plugins.Worker) error { log.Fatal("the log package says goodbye"); return nil },
			"wait":             wait,
			"wait_busy":        waitBusy,
			"deaf":             deaf,
			"own_sigterm":      ownSigterm,
			"manual_signals":   manualSignals,
			"never_unblocks":   wait, // signals stay blocked
			"hup":              hup,
			"latch":            latch,
			"connect":          connectAndReport,
			"connect_as":       connectAs,
			"connect_twice":    connectTwice,
			"sleep_query":      sleepQuery,
			"grandchild":       grandchild,
			"busy_error":       busyError,
			"block_signals":    blockSignals,
			"sigpwr":           sigpwr,
			"context_error":    contextError,
			"claim":            claim,
			"talk":             talk,
			"fail_statement":   failStatement,
			"claim_sessions":   claimSessions,
			"leave_grandchild": leaveGrandchild,
			"soak":             soak,
			"no_memory":        noMemory,
			"hog":              hog,
			"hold_lock":        holdLock,
			"garble":           garble,
			"scribble":         scribble,
			"registrar":        registrar,
			"try_lock":         tryLock,
			"launcher":         launcher,
			"launcher_stays":   launcherStays,
		},
		ManualSignals: []string{"manual_signals", "never_unblocks"},
	}
}

func faultsInit(p *plugins.Init) error {
	workers := p.DefineCustomString(plugins.StringVariable{Name: "faults.workers", Default: "[]"})
	p.DefineCustomInt(plugins.IntVariable{Name: "faults.count", Default: 1, Min: 1, Max: 10, Check: notNine})
	behaviour := p.DefineCustomString(plugins.StringVariable{Name: "faults.init"})
	if p.PreloadInProgress() {
		p.DefineCustomDuration(plugins.DurationVariable{Name: "faults.delay", Default: time.Second, Unit: time.Second, Context: plugins.PGCPostmaster})
	}
	switch behaviour() {
	case "panic":
		panic("in Init")
	case "error":
		return elog.New(elog.Error, elog.FeatureNotSupported, "Init does not like it here").WithHint("Go elsewhere.")
	case "exit":
		os.Exit(3)
	case "hang":
		select {}
	case "reserve":
		p.MarkGUCPrefixReserved("faults")
	}
	var registrations []plugins.BackgroundWorker
	if err := json.Unmarshal([]byte(workers()), &registrations); err != nil {
		return err
	}
	for _, w := range registrations {
		p.RegisterBackgroundWorker(w)
	}
	return nil
}

// waitEvents is what a well-behaved worker waits for.
const waitEvents = plugins.LatchSet | plugins.PostmasterDeath

func wait(ctx context.Context, w *plugins.Worker) error {
	w.Logf(elog.Log, "%s waits", w.Entry().Name)
	for {
		events, err := w.WaitLatch(ctx, waitEvents, 0, plugins.ExtensionWait("FaultsWait"))
		if err != nil || events&plugins.PostmasterDeath != 0 {
			return err
		}
		w.ResetLatch()
	}
}

// waitBusy reports what it does before it waits.
func waitBusy(ctx context.Context, w *plugins.Worker) error {
	w.ReportActivity(plugins.StateRunning, "SELECT busy()")
	return wait(ctx, w)
}

func returnSQLState(context.Context, *plugins.Worker) error {
	return fmt.Errorf("could not do it: %w", elog.New(elog.Error, elog.UndefinedObject, "no such thing").WithHint("Make one."))
}

func panicElsewhere(ctx context.Context, w *plugins.Worker) error {
	go func() { panic("in another goroutine") }()
	return wait(ctx, w)
}

func goexit(context.Context, *plugins.Worker) error {
	runtimeGoexit()
	return nil
}

// deaf notices nothing.
func deaf(_ context.Context, w *plugins.Worker) error {
	w.Logf(elog.Log, "%s is deaf", w.Entry().Name)
	select {}
}

// ownSigterm decides itself how to end: with its MainArg as the exit code.
func ownSigterm(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGTERM, plugins.SignalHandlerForShutdownRequest); err != nil {
		return err
	}
	w.Logf(elog.Log, "%s waits", w.Entry().Name)
	for !w.ShutdownRequestPending() {
		if _, err := w.WaitLatch(ctx, waitEvents, 0, plugins.WaitEvent{}); err != nil {
			return err
		}
		w.ResetLatch()
	}
	if w.Entry().MainArg == 0 {
		return nil
	}
	return errors.New("shutting down as I like")
}

// manualSignals blocks signals for a while, says so, and unblocks them when
// the file named by its Extra appears.
func manualSignals(ctx context.Context, w *plugins.Worker) error {
	w.Logf(elog.Log, "%s has signals blocked", w.Entry().Name)
	extra := w.Entry().Extra
	file := strings.TrimRight(string(extra[:]), "\x00")
	for open := false; !open; {
		_, err := os.Stat(file)
		open = err == nil
		// Once more after the gate has opened: a signal that is on its way must
		// have time to do harm.
		if _, err := w.WaitLatch(ctx, waitEvents|plugins.Timeout, 20*time.Millisecond, plugins.WaitEvent{}); err != nil {
			w.Logf(elog.Log, "%s was hit by a blocked signal", w.Entry().Name)
			return err
		}
	}
	w.Logf(elog.Log, "%s unblocks signals", w.Entry().Name)
	w.UnblockSignals()
	return wait(ctx, w)
}

// hup tells the value of faults.count at the start and after each SIGHUP.
func hup(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	for {
		value, err := w.ShowSetting("faults.count")
		if err != nil {
			return err
		}
		w.Logf(elog.Log, "%s: faults.count is %s", w.Entry().Name, value)
		if _, err := w.WaitLatch(ctx, waitEvents, 0, plugins.WaitEvent{}); err != nil {
			return err
		}
		w.ResetLatch()
		if w.ConfigReloadPending() {
			w.ProcessConfigFile()
		}
	}
}

// latch tells every time its latch is set.
func latch(ctx context.Context, w *plugins.Worker) error {
	for {
		w.Logf(elog.Log, "%s waits", w.Entry().Name)
		if _, err := w.WaitLatch(ctx, waitEvents, 0, plugins.WaitEvent{}); err != nil {
			return err
		}
		w.ResetLatch()
		w.Logf(elog.Log, "%s has its latch set", w.Entry().Name)
	}
}

func connectAndReport(ctx context.Context, w *plugins.Worker) error {
	conn, err := connect.InitializeConnection(ctx, w, extraString(w), "", 0)
	if err != nil {
		return err
	}
	var database string
	if err := conn.QueryRow(ctx, "SELECT current_database()").Scan(&database); err != nil {
		return err
	}
	w.Logf(elog.Log, "%s is connected to %s", w.Entry().Name, database)
	return wait(ctx, w)
}

// connectAs connects as the user its Extra names.
func connectAs(ctx context.Context, w *plugins.Worker) error {
	conn, err := connect.InitializeConnection(ctx, w, "", extraString(w), 0)
	if err != nil {
		return err
	}
	w.Logf(elog.Log, "%s is connected to %s", w.Entry().Name, conn.Database())
	return wait(ctx, w)
}

func connectTwice(ctx context.Context, w *plugins.Worker) error {
	if _, err := connect.InitializeConnection(ctx, w, "", "", 0); err != nil {
		return err
	}
	_, err := connect.InitializeConnection(ctx, w, "", "", 0)
	return err
}

// sleepQuery runs a long statement again and again; a cancelled one is logged
// and followed by the next.
func sleepQuery(ctx context.Context, w *plugins.Worker) error {
	conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
	if err != nil {
		return err
	}
	for {
		w.Logf(elog.Log, "%s sleeps in the server", w.Entry().Name)
		_, err := conn.Exec(ctx, "SELECT pg_sleep(3600)")
		if elog.CodeOf(err) != elog.QueryCanceled || ctx.Err() != nil {
			return err
		}
		w.Logf(elog.Log, "%s: %v", w.Entry().Name, err)
	}
}

func extraString(w *plugins.Worker) string {
	extra := w.Entry().Extra
	return strings.TrimRight(string(extra[:]), "\x00")
}
