package connect_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

const showTimeouts = `SELECT current_setting('statement_timeout') || ' ' || current_setting('idle_in_transaction_session_timeout')
	|| ' ' || current_setting('idle_session_timeout') || ' ' || current_setting('lock_timeout')`

func TestSessionIsFreedFromTimeoutsUnlessToldOtherwise(t *testing.T) {
	limited := server.ConnInfo() + " user=limited"
	for name, tt := range map[string]struct {
		conninfo string
		opts     []connect.Option
		want     string
	}{
		"default":              {limited, nil, "0 0 0 8min"},
		"kept":                 {limited, []connect.Option{connect.KeepTimeouts()}, "7min 6min 9min 8min"},
		"in options":           {limited + " options='-c statement_timeout=3min --idle-session-timeout=4min'", nil, "3min 0 4min 8min"},
		"plugin's own":         {limited, []connect.Option{connect.WithSetting("statement_timeout", "5min")}, "5min 0 0 8min"},
		"plugin over conninfo": {limited + " options='-c statement_timeout=3min'", []connect.Option{connect.WithSetting("statement_timeout", "5min")}, "5min 0 0 8min"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := open(t, tt.conninfo, "other", tt.opts...)
			if got := query(t, conn, showTimeouts); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTheOwnerOfADatabaseDoesNotChooseTheRoleOfASessionThatIgnoresThat(t *testing.T) {
	for name, tt := range map[string]struct {
		conninfo string
		opts     []connect.Option
		want     string
	}{
		"not ignored":               {"", nil, "hijacker"},
		"ignored":                   {"", []connect.Option{connect.IgnoreDatabaseRole()}, "postgres"},
		"the login's own":           {" user=masked", []connect.Option{connect.IgnoreDatabaseRole()}, "plain"},
		"one that it may not be":    {" user='half masked'", []connect.Option{connect.IgnoreDatabaseRole()}, "half masked"},
		"the connection settings'":  {" options='-c role=member'", []connect.Option{connect.IgnoreDatabaseRole()}, "member"},
		"those, over the login's":   {" user=masked options='-c role=hijacker'", []connect.Option{connect.IgnoreDatabaseRole()}, "hijacker"},
		"in a database without one": {" dbname=other", []connect.Option{connect.IgnoreDatabaseRole()}, "postgres"},
	} {
		t.Run(name, func(t *testing.T) {
			database := "hijacked"
			if strings.Contains(tt.conninfo, "dbname") {
				database = ""
			}
			if got := query(t, open(t, server.ConnInfo()+tt.conninfo, database, tt.opts...), "SELECT current_user::text"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSettingsOfAPluginAreTakenAsTheyAre(t *testing.T) {
	const odd = `it's \odd`
	conn := open(t, server.ConnInfo()+" options='-c standard_conforming_strings=off -c escape_string_warning=off'", "", connect.WithSetting("my.setting", odd))
	if got := query(t, open(t, server.ConnInfo(), "", connect.WithSetting("my.setting", odd)), "SELECT current_setting('my.setting')"); got != odd {
		t.Errorf("got %q", got)
	}
	var got string
	check(t, conn.QueryRow(testContext(t), "SELECT current_setting('my.setting')").Scan(&got))
	if got != odd {
		t.Errorf("with standard_conforming_strings = off: got %q", got)
	}
	_, err := connect.Initialize(testContext(t), newWorker(server.ConnInfo()), "", "", 0, connect.WithSetting("work_mem", "much"))
	if e := report(t, err); e.Level != elog.Fatal || e.Code != "22023" || e.Message != `invalid value for parameter "work_mem": "much"` {
		t.Errorf("got %+v", e)
	}
}

func TestSessionIsNamedAfterItsWorker(t *testing.T) {
	w := newWorker(server.ConnInfo() + " application_name=x fallback_application_name=y client_encoding=UTF8")
	w.name = strings.Repeat("n", 62) + "ö"
	conn, err := connect.Initialize(testContext(t), w, "", "", 0)
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	if got := query(t, conn, "SELECT current_setting('application_name')"); got != strings.Repeat("n", 62) {
		t.Errorf("got %q", got)
	}
	if got := query(t, conn, "SELECT pg_backend_pid()::text || current_setting('client_encoding')"); !strings.HasSuffix(got, "UTF8") {
		t.Errorf("got %q", got)
	}
}

// running waits until the server runs a statement for the session.
func running(t *testing.T, conninfo string, conn *connect.Conn) {
	t.Helper()
	watcher := open(t, conninfo, "")
	eventually(t, "the statement runs", func() bool {
		return query(t, watcher, "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid = $1", conn.BackendPid()) == "1"
	})
}

func TestEndOfContextCancelsTheStatementOnTheServer(t *testing.T) {
	for name, conninfo := range map[string]string{"unix": server.ConnInfo(), "tcp": server.ConnInfoTCP()} {
		t.Run(name, func(t *testing.T) {
			conn := open(t, conninfo, "")
			ctx, cancel := context.WithCancel(context.Background())
			failed := make(chan error)
			go func() {
				_, err := conn.Exec(ctx, "SELECT pg_sleep(1000)")
				failed <- err
			}()
			running(t, server.ConnInfo(), conn)
			cancel()
			if err := <-failed; !connect.IsStatementCancelled(err) || connect.IsServerEvent(err) {
				t.Errorf("got %v", err)
			}
			if got := query(t, conn, "SELECT 'alive'"); got != "alive" {
				t.Error("the session did not survive")
			}
		})
	}
}

func TestCancelRequestFailsTheStatementAndKeepsTheSession(t *testing.T) {
	conn := open(t, server.ConnInfo(), "")
	failed := make(chan error)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(1000)")
		failed <- err
	}()
	running(t, server.ConnInfo(), conn)
	check(t, conn.CancelRequest(testContext(t)))
	e := connect.AsErrorData(<-failed, elog.Error)
	if e.Code != elog.QueryCanceled || e.Message != "canceling statement due to user request" {
		t.Errorf("got %+v", e)
	}
	if got := query(t, conn, "SELECT 'alive'"); got != "alive" {
		t.Error("the session did not survive")
	}
}

func TestCancelRequestGoesToTheHostOfTheSession(t *testing.T) {
	several := strings.Replace(server.ConnInfo(), "host=", "host=/nonexistent,", 1)
	several = strings.Replace(several, "host='", "host='/nonexistent,", 1)
	several = strings.Replace(several, ",'", ",", 1)
	conn := open(t, several, "")
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error)
	go func() {
		_, err := conn.Exec(ctx, "SELECT pg_sleep(1000)")
		failed <- err
	}()
	running(t, server.ConnInfo(), conn)
	start := time.Now()
	cancel()
	if err := <-failed; connect.SQLState(err) != elog.QueryCanceled || time.Since(start) > time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if conn.IsClosed() {
		t.Error("the session did not survive")
	}
}

func TestEndOfContextEndsAWaitForNotificationsAtOnce(t *testing.T) {
	conn, other := open(t, server.ConnInfo(), ""), open(t, server.ConnInfo(), "")
	_, err := conn.Exec(testContext(t), "LISTEN news")
	check(t, err)
	begin := time.Now()
	for range 10 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		if _, err := conn.WaitForNotification(ctx); !connect.IsStatementCancelled(err) {
			t.Fatalf("got %v", err)
		}
		cancel()
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v", took)
	}
	_, err = other.Exec(testContext(t), "NOTIFY news, 'good'")
	check(t, err)
	n, err := conn.WaitForNotification(testContext(t))
	if err != nil || n.Payload != "good" {
		t.Errorf("got %v, %v", n, err)
	}
}

func TestNoticesGoToTheLog(t *testing.T) {
	w := newWorker(server.ConnInfo())
	conn, err := connect.Initialize(testContext(t), w, "", "", 0)
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(testContext(t), "DO $$ BEGIN RAISE WARNING 'watch out' USING DETAIL = 'Detail.', HINT = 'Hint.'; END $$")
	check(t, err)
	if len(w.reports) != 1 {
		t.Fatalf("got %v", w.reports)
	}
	if e := w.reports[0]; e.Level != elog.Warning || e.Code != "01000" || e.Message != "watch out" || e.Detail != "Detail." || e.Hint != "Hint." {
		t.Errorf("got %+v", e)
	}
}

func TestPluginsCanUsePgxAsItIs(t *testing.T) {
	conn := open(t, server.ConnInfo(), "")
	batch := &pgx.Batch{}
	batch.Queue("SELECT 1")
	batch.Queue("SELECT 2")
	check(t, conn.SendBatch(testContext(t), batch).Close())
	_, err := conn.Exec(testContext(t), "CREATE TEMP TABLE copied (x int)")
	check(t, err)
	n, err := conn.CopyFrom(testContext(t), pgx.Identifier{"copied"}, []string{"x"}, pgx.CopyFromRows([][]any{{1}, {2}}))
	if err != nil || n != 2 {
		t.Errorf("got %d, %v", n, err)
	}
}
