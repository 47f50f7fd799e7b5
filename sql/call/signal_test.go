package call_test

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
)

// terminate is the statement that terminates a process.
func terminate(pid int) string { return fmt.Sprintf("SELECT pgexthost.pg_terminate_backend(%d)", pid) }

func TestAWorkerIsTerminatedByWhoMayTerminateABackendOfItsRole(t *testing.T) {
	b := newBed(t)
	admin := b.plain("postgres", "postgres")
	admin.exec("GRANT bob TO alice; GRANT pg_signal_backend TO owner")
	t.Cleanup(func() { admin.exec("REVOKE bob FROM alice; REVOKE pg_signal_backend FROM owner") })
	const member, super = "Only roles with privileges of the role whose process is being terminated or with privileges of the \"pg_signal_backend\" role may terminate this process.",
		"Only roles with the SUPERUSER attribute may terminate processes of roles with the SUPERUSER attribute."
	for _, tt := range []struct{ user, role, detail string }{
		{"stranger", "bob", member}, {"alice", "bob", ""}, {"bob", "bob", ""}, {"owner", "bob", ""}, {"postgres", "bob", ""},
		{"stranger", "postgres", super}, {"owner", "postgres", super}, {"postgres", "postgres", ""},
	} {
		w := b.run(tt.role, "one")
		c := b.connect(tt.user)
		if tt.detail != "" {
			if e := c.refuses(terminate(w.pid()), "42501"); e.Message != "permission denied to terminate process" || e.Detail != tt.detail {
				t.Errorf("%+v: got %+v", tt, e)
			}
			continue
		}
		if !query[bool](c, terminate(w.pid())) {
			t.Errorf("%+v: not terminated", tt)
		}
		<-w.gone
		if s := w.cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGTERM {
			t.Errorf("%+v: ended by %v", tt, s)
		}
	}
}

// The rights are those that the server would look at: of a function's owner, if
// that is how it runs.
func TestTheRightsAreThoseOfTheCurrentUser(t *testing.T) {
	b := newBed(t)
	b.plain(b.database, "postgres").exec(`CREATE FUNCTION public.stop(pid int) RETURNS bool LANGUAGE sql SECURITY DEFINER AS 'SELECT pgexthost.pg_terminate_backend(pid)';
		ALTER FUNCTION public.stop OWNER TO bob`)
	w := b.run("bob", "one")
	c := b.connect("stranger")
	if !query[bool](c, fmt.Sprintf("SELECT public.stop(%d)", w.pid())) {
		t.Error("bob's function has not bob's rights")
	}
	<-w.gone
	w = b.run("postgres", "two")
	super := b.connect("postgres")
	super.exec("SET ROLE bob")
	super.refuses(terminate(w.pid()), "42501")
}

func TestAWorkersStatementIsCancelledBySIGINT(t *testing.T) {
	b := newBed(t)
	w := b.run("postgres", "one")
	cancel := fmt.Sprintf("SELECT pgexthost.pg_cancel_backend(%d)", w.pid())
	if e := b.connect("bob").refuses(cancel, "42501"); e.Message != "permission denied to cancel query" ||
		e.Detail != "Only roles with the SUPERUSER attribute may cancel queries of roles with the SUPERUSER attribute." {
		t.Errorf("got %+v", e)
	}
	if !query[bool](b.connect("postgres"), cancel) {
		t.Error("no signal was sent")
	}
	<-w.gone
	if s := w.cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGINT {
		t.Errorf("ended by %v", s)
	}
}

func TestOtherPidsAreTheServers(t *testing.T) {
	b := newBed(t)
	for name, connect := range map[string]func(string) *client{"gateway": b.connect, "direct": func(user string) *client { return b.plain(b.database, user) }} {
		victim := b.plain(b.database, "bob")
		pid := int(victim.PgConn().PID())
		server := b.plain(b.database, "stranger").refuses(fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)", pid), "42501")
		if e := connect("stranger").refuses(terminate(pid), "42501"); e.Message != server.Message {
			t.Errorf("%s: got %q, want the server's %q", name, e.Message, server.Message)
		}
		c := connect("bob")
		if query[bool](c, terminate(1<<22+5)) {
			t.Errorf("%s: a process that there is not was terminated", name)
		}
		c.refuses(strings.Replace(terminate(pid), ")", ", -1)", 1), "22003")
		if !query[bool](c, strings.Replace(terminate(pid), ")", ", 60000)", 1)) {
			t.Errorf("%s: not terminated", name)
		}
		if err := victim.try("SELECT 1"); err == nil {
			t.Errorf("%s: the session goes on", name)
		}
		if !query[bool](c, "SELECT pgexthost.pg_terminate_backend(NULL) IS NULL AND pgexthost.pg_cancel_backend(NULL) IS NULL") {
			t.Errorf("%s: not strict", name)
		}
	}
}

func TestAPidOfTwoIsRefused(t *testing.T) {
	b := newBed(t)
	b.run("bob", "the one")
	victim := b.plain(b.database, "bob")
	pid := int(victim.PgConn().PID())
	b.host.change(func(i *plugins.WorkerInfo) { i.Pid = pid })
	e := b.connect("postgres").refuses(terminate(pid), "42P08")
	if e.Message != fmt.Sprintf("PID %d is that of a background worker and of a server process", pid) || !strings.HasPrefix(e.Hint, "Use pgexthost.terminate('the one')") {
		t.Errorf("got %+v", e)
	}
	victim.exec("SELECT 1")
}

func TestAWorkerWithoutASessionIsNoBackend(t *testing.T) {
	b := newBed(t)
	w := b.run("bob", "one")
	b.host.change(func(i *plugins.WorkerInfo) { i.BackendPid = 0 })
	if query[bool](b.connect("postgres"), terminate(w.pid())) {
		t.Error("it was terminated")
	}
}

func TestATerminationThatTakesTooLongIsAWarning(t *testing.T) {
	b := newBed(t)
	w := b.run("bob", "one")
	check(t, w.cmd.Process.Signal(syscall.SIGSTOP))
	c := b.connect("bob")
	if query[bool](c, strings.Replace(terminate(w.pid()), ")", ", 30)", 1)) {
		t.Error("a process that is stopped has ended")
	}
	check(t, w.cmd.Process.Signal(syscall.SIGCONT))
	<-w.gone
}

func TestAReloadIsTheServersAndTheHosts(t *testing.T) {
	b := newBed(t)
	hups := make(chan os.Signal, 10)
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)
	admin := b.plain(b.database, "postgres")
	admin.exec("GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO bob")
	const reload = "SELECT pgexthost.pg_reload_conf()"
	b.connect("stranger").refuses(reload, "42501")
	b.plain(b.database, "stranger").refuses(reload, "42501")
	b.connect("stranger").refuses("SELECT pgexthost.reload_host('stranger', (SELECT proof FROM pgexthost.certificate))", "42501")
	if !query[bool](b.plain(b.database, "bob"), reload) || len(hups) != 0 {
		t.Error("a direct session has reloaded the host")
	}
	for _, user := range []string{"bob", "postgres"} {
		before := query[string](admin, "SELECT pg_conf_load_time()::text")
		if !query[bool](b.connect(user), reload) {
			t.Errorf("%s: no reload", user)
		}
		select {
		case <-hups:
		case <-within(t).Done():
			t.Errorf("%s: the host was not told", user)
		}
		eventually(b, "the server's reload", func() bool { return query[string](admin, "SELECT pg_conf_load_time()::text") != before })
	}
}

// An administrator may have kept these from everybody.
func TestWhatTheServerKeepsFromARoleTheSchemaKeepsAsWell(t *testing.T) {
	b := newBed(t)
	b.plain(b.database, "postgres").exec(`REVOKE EXECUTE ON FUNCTION pg_catalog.pg_terminate_backend, pg_catalog.pg_cancel_backend FROM PUBLIC;
		REVOKE SELECT ON pg_catalog.pg_stat_activity FROM PUBLIC; GRANT SELECT ON pg_catalog.pg_stat_activity TO owner`)
	w := b.run("bob", "one")
	for _, c := range []*client{b.connect("bob"), b.plain(b.database, "bob")} {
		for sql, what := range map[string]string{
			terminate(w.pid()): "function pg_terminate_backend", fmt.Sprintf("SELECT pgexthost.pg_cancel_backend(%d)", w.pid()): "function pg_cancel_backend",
			"SELECT FROM pgexthost.pg_stat_activity": "view pg_stat_activity", "SELECT usename FROM pgexthost.pg_stat_activity WHERE pid = 1 LIMIT 1": "view pg_stat_activity",
		} {
			if e := c.refuses(sql, "42501"); e.Message != "permission denied for "+what {
				t.Errorf("%s: got %s", sql, e.Message)
			}
		}
	}
	if n := query[int](b.connect("postgres"), "SELECT count(*) FROM pgexthost.pg_stat_activity WHERE pid = $1", w.pid()); n != 1 {
		t.Errorf("%d rows", n)
	}
}
