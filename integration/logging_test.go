//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"log"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// talk logs in all the ways there are, again at each reload.
func talk(ctx context.Context, w *plugins.Worker) error {
	if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
		return err
	}
	for {
		slog.Debug("slog debugs", "n", 1)
		slog.Info("slog informs", "n", 2, slog.Group("g", "text", "two words"))
		slog.Default().With("n", 3).Warn("slog warns")
		w.Slog().Error("slog fails", "err", elog.New(elog.Error, elog.UndefinedObject, "no such thing").WithDetail("Gone.").WithHint("Make one."))
		log.Print("package log prints\n\xff\x1b[31m\"quoted\"")
		w.Logf(elog.Log, "%s has talked", w.Entry().Name)
		events, err := w.WaitLatch(ctx, waitEvents, 0, plugins.WaitEvent{})
		if err != nil || events&plugins.PostmasterDeath != 0 {
			return err
		}
		w.ResetLatch()
		if w.ConfigReloadPending() {
			w.ProcessConfigFile()
		}
	}
}

func failStatement(ctx context.Context, w *plugins.Worker) error {
	conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT *\nFROM nowhere")
	return err
}

var talker = plugins.BackgroundWorker{Name: "talker", Type: "talkers", FunctionName: "talk"}

func TestSlogAndPackageLogReachTheHostsLog(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	appendTo(t, dir, "log_line_prefix = '%b %e '\n")
	h := startHost(t, inDir(dir), withFileSettingsOnly(), withWorkers(talker))
	h.waitLog(`talkers 00000 LOG:  talker has talked$`)
	for _, line := range []string{
		`^talkers 00000 LOG:  slog informs$`, `^talkers 00000 DETAIL:  n=2 g.text="two words"$`,
		`^talkers 01000 WARNING:  slog warns$`, `^talkers 01000 DETAIL:  n=3$`,
		`^talkers 42704 ERROR:  slog fails$`, `^talkers 42704 DETAIL:  err="no such thing"$`, `^\tGone\.$`, `^talkers 42704 HINT:  Make one\.$`,
		`^talkers 00000 LOG:  package log prints$`,
	} {
		if n := h.count(line); n != 1 {
			t.Errorf("%d lines match %q", n, line)
		}
	}
	if h.count(`slog debugs`) != 0 {
		t.Error("debugging records are logged at log_min_messages = warning")
	}
	appendTo(t, dir, "log_min_messages = debug1\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`^talkers 00000 DEBUG:  slog debugs$`)
	h.stop()
}

func TestJSONLogIsOneRecordALineInEveryProcess(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	h := startHost(t, inDir(dir), withSetting("log_destination=jsonlog"), withWorkers(talker))
	h.waitLog(`"message":"talker has talked"`)
	h.signal(unix.SIGTERM)
	h.awaitLogEnd()
	types, messages := make(map[string]bool), make(map[string]map[string]any)
	for _, line := range h.logLines() {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("%v in %s", err, line)
			continue
		}
		types[record["backend_type"].(string)] = true
		messages[record["message"].(string)] = record
	}
	for _, process := range []string{"postmaster", "preload", "talkers"} {
		if !types[process] {
			t.Errorf("the log has nothing of %s, only of %v", process, types)
		}
	}
	if r := messages["slog fails"]; r["state_code"] != "42704" || r["detail"] != "err=\"no such thing\"\nGone." || r["hint"] != "Make one." ||
		r["application_name"] != "talker" || r["error_severity"] != "ERROR" {
		t.Errorf("got %v", r)
	}
	if r := messages["package log prints\n\ufffd\x1b[31m\"quoted\""]; r["error_severity"] != "LOG" {
		t.Errorf("got %v", r)
	}
}

func TestAReloadChangesLogDestination(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	h := startHost(t, inDir(dir), withFileSettingsOnly(), withWorkers(talker))
	h.waitLog(`\] LOG:  talker has talked$`)
	appendTo(t, dir, "log_destination = 'jsonlog, sky'\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`\] LOG:  invalid value for parameter "log_destination": "jsonlog, sky"$`)
	h.waitLog(`\] DETAIL:  Unrecognized key word: "sky"\.$`)
	h.waitLogCount(`\] LOG:  talker has talked$`, 2)
	appendTo(t, dir, "log_destination = 'jsonlog, stderr'\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`"message":"talker has talked"`)
	h.waitLogCount(`\] LOG:  talker has talked$`, 3)
	h.waitLog(`^\{.*"backend_type":"talkers"`)
	h.stop()
}

func TestAParallelWorkersLogNamesItsLeader(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("log_line_prefix=<%p %P> "), withSetting("log_destination=stderr,jsonlog"),
		withWorkers(plugins.BackgroundWorker{Name: "leader", FunctionName: "claim", MainArg: 1}))
	leader := h.waitLog(`^<(\d+) > LOG:  leader has registered claimed,`)[1]
	h.waitLog(`^<\d+ ` + leader + `> LOG:  claimed waits$`)
	h.waitLog(`^\{.*"message":"claimed waits".*"leader_pid":` + leader + `,`)
	h.stop()
}

func TestTheStatementThatEndedAWorkerIsLogged(t *testing.T) {
	t.Parallel()
	h := startHost(t, withServer(sharedServer(t).ConnInfo()), withWorkers(plugins.BackgroundWorker{
		Name: "failing", FunctionName: "fail_statement", Flags: plugins.BackendDatabaseConnection,
		StartTime: plugins.StartAtConsistentState, RestartTime: plugins.NeverRestart,
	}))
	h.waitLog(`ERROR:  relation "nowhere" does not exist \(SQLSTATE 42P01\)$`)
	h.waitLog(`STATEMENT:  SELECT \*$`)
	h.waitLog(`^\tFROM nowhere$`)
	h.stop()
}
