package call_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/testkit"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestALaunchReturnsThePidBeforeTheTransactionCommits(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	c.exec("BEGIN")
	for i := range 20 {
		if pid := query[int](c, launch+itoa(i)+")"); pid != firstPid+i {
			t.Errorf("pid %d", pid)
		}
	}
	c.exec("ROLLBACK")
	if n := b.host.count(); n != 20 {
		t.Errorf("%d workers are registered", n)
	}
}

func TestALaunchRegistersWhatItIsGiven(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	c.exec(`SELECT pgexthost.launch_now('lib', 'main');
		SELECT pgexthost.launch_now('lib', 'mäin', 'the "näme" of it \', 'typ', -9223372036854775808, '\x00ff', 7, 'consistent', true);
		SELECT pgexthost.launch_now('lib', 'main', NULL, NULL, NULL, NULL, NULL, 'postmaster', NULL)`)
	const connected = plugins.ShmemAccess | plugins.BackendDatabaseConnection
	want := []plugins.BackgroundWorker{
		{Name: "lib main", Type: "lib main", Flags: connected, StartTime: plugins.StartAtRecoveryFinished, RestartTime: -1, LibraryName: "lib", FunctionName: "main"},
		{Name: `the "näme" of it \`, Type: "typ", Flags: connected | plugins.Interruptible, StartTime: plugins.StartAtConsistentState, RestartTime: 7,
			LibraryName: "lib", FunctionName: "mäin", MainArg: -1 << 63, Extra: [128]byte{0, 255}},
		{Name: "lib main", Type: "lib main", Flags: plugins.ShmemAccess, RestartTime: -1, LibraryName: "lib", FunctionName: "main"},
	}
	for i, got := range b.host.registered {
		want[i].NotifyPid = b.host.Pid()
		if got != want[i] {
			t.Errorf("got\n%+v\nwant\n%+v", got, want[i])
		}
	}
}

func TestALaunchWithoutAFreeSlotIsNull(t *testing.T) {
	b := newBed(t)
	b.host.slots = 1
	c := b.connect("alice")
	got := query[string](c, "SELECT string_agg(coalesce(pgexthost.launch_now('lib', 'main', main_arg => i)::text, 'NULL'), ' ' ORDER BY i) FROM generate_series(1, 3) i")
	if want := itoa(firstPid+1) + " NULL NULL"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestALaunchThatCannotBeStartedFailsAsPostgreSQLs(t *testing.T) {
	b := newBed(t)
	b.host.set(0)
	c := b.connect("alice")
	done := make(chan error, 1)
	go func() { done <- c.try("SELECT worker_spi_launch(4)") }()
	eventually(b, "the registration", func() bool { return b.host.count() == 1 })
	b.host.set(-1)
	e := testkit.ServerError(<-done)
	if e == nil || e.Code != "53000" || e.Message != "could not start background process" || e.Hint != "More details may be available in the server log." ||
		!strings.HasPrefix(e.ConstraintName, "pgexthost:") || e.Detail != "" {
		t.Errorf("got %+v", e)
	}
}

func TestALaunchRefusesWhatTheHostWould(t *testing.T) {
	b := newBed(t)
	for name, c := range map[string]*client{"gateway": b.connect("alice"), "direct": b.plain(b.database, "alice")} {
		for args, want := range map[string]string{
			`'lib', 'main', 'n', restart_time => -2`:                        `22023 background worker "n": invalid restart interval`,
			`'lib', 'main', 'n', start_time => 'soon'`:                      `22023 background worker "n": invalid start time`,
			`'a/lib', 'main'`:                                               `42501 permission denied to launch functions of library "a/lib"`,
			`'postgres', 'ParallelWorkerMain'`:                              `42501 permission denied to launch functions of library "postgres"`,
			`'', 'main'`:                                                    `22004 a library and a function are needed`,
			`'lib', 'main', 'n', extra => decode(repeat('00', 129), 'hex')`: `22023 extra data are longer than 128 bytes`,
		} {
			if e := c.refuses("SELECT pgexthost.launch_now("+args+")", want[:5]); e.Message != want[6:] {
				t.Errorf("%s: %s: got %q", name, args, e.Message)
			}
		}
	}
	e := b.connect("alice").refuses("SELECT pgexthost.launch_now('lib', 'main', 'n', start_time => 'postmaster', interruptible => true)", "22023")
	if e.Message != `background worker "n": cannot make background workers interruptible without database access` {
		t.Errorf("the host's own refusal: %q", e.Message)
	}
	if n := b.host.count(); n != 0 {
		t.Errorf("%d workers are registered", n)
	}
}

// Who owns the schema can call what its functions call, and is not asked by them.
func TestTheOwnersOwnCallsAreCheckedByTheHost(t *testing.T) {
	b := newBed(t)
	c := b.connect("owner")
	for library, want := range map[string]string{
		"/tmp/evil": `permission denied to launch functions of library "/tmp/evil"`, "../evil": `permission denied to launch functions of library "../evil"`,
		"postgres": `permission denied to launch functions of library "postgres"`,
	} {
		e := c.refuses(`SELECT pgexthost.call('register', '{"library": "`+library+`", "function": "main", "name": "n", "restart_time": -1}')`, "42501")
		if e.Message != want {
			t.Errorf("%s: got %q", library, e.Message)
		}
	}
	if n := b.host.count(); n != 0 {
		t.Errorf("%d workers are registered", n)
	}
	if e := c.refuses("SELECT pgexthost.call('nonsense', '')", "42883"); e.Hint == "" {
		t.Errorf("got %+v", e)
	}
}

func TestADirectSessionIsToldAtOnce(t *testing.T) {
	b := newBed(t)
	c := b.plain(b.database, "alice")
	for sql, hint := range map[string]string{
		"SELECT pgexthost.launch_now('lib', 'main')": "Use CALL pgexthost.launch_and_wait(...), or connect to the gateway's port.",
		"SELECT worker_spi_launch(4)":                "Use CALL worker_spi_launch_and_wait(...), or connect to the gateway's port.",
	} {
		if e := c.refuses(sql, "53000"); e.Message != "cannot start background processes without postmaster" || e.Hint != hint || e.Detail == "" {
			t.Errorf("%s: got %+v", sql, e)
		}
	}
}

func TestWorkerSpiLaunchIsThatOfC(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	if pid := query[int](c, "SELECT worker_spi_launch(4, 16384, 258, '{ALLOWCONN,ROLELOGINCHECK}', true)"); pid != firstPid+4 {
		t.Errorf("pid %d", pid)
	}
	w := b.host.registered[0]
	if w.Name != "worker_spi dynamic worker 4" || w.Type != "worker_spi dynamic" || w.MainArg != 4 || w.RestartTime != plugins.NeverRestart ||
		w.LibraryName != "worker_spi" || w.FunctionName != "worker_spi_main" || w.Flags&plugins.Interruptible == 0 ||
		string(w.Extra[:13]) != "\x00\x40\x00\x00\x02\x01\x00\x00\x03\x00\x00\x00\x00" {
		t.Errorf("got %+v", w)
	}
	if !query[bool](c, "SELECT worker_spi_launch(NULL) IS NULL") {
		t.Error("it is not strict")
	}
	if e := c.refuses("SELECT worker_spi_launch(4, flags => '{X}')", "0A000"); e.Message != "incorrect flag value found in array" {
		t.Errorf("got %q", e.Message)
	}
	b.connect("stranger").refuses("SELECT worker_spi_launch(4)", "42501")
	b.connect("stranger").refuses("SELECT pgexthost.launch_now('lib', 'main')", "42501")
}

// The gateway says that it is at work, so that the function goes on waiting.
func TestAStartThatTakesLongIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.host.set(0)
	c := b.connect("alice")
	const longerThanPatience = 11 * time.Second
	timer := time.AfterFunc(longerThanPatience, func() { b.host.set(77) })
	defer timer.Stop()
	start := time.Now()
	if pid := query[int](c, launch+"1)"); pid != 77 || time.Since(start) < longerThanPatience {
		t.Errorf("pid %d after %v", pid, time.Since(start))
	}
}

func TestACancelledCallIsOverAndTheNextOneIsAnswered(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	b.host.set(0)
	for ms := 30; b.host.count() == 0; ms *= 2 { // on a busy machine the end may come first
		c.exec("SET statement_timeout = " + itoa(ms))
		c.refuses(launch+"1)", "57014")
	}
	c.exec("SET statement_timeout = 0; SET lock_timeout = '30ms'")
	before := b.host.count()
	done := make(chan error, 1)
	go func() { done <- c.try(launch + "1)") }()
	eventually(b, "the registration", func() bool { return b.host.count() > before })
	check(t, c.PgConn().CancelRequest(within(t)))
	if e := testkit.ServerError(<-done); e == nil || e.Code != "57014" {
		t.Errorf("got %v", e)
	}
	b.host.set(5)
	if pid := query[int](c, launch+"9)"); pid != firstPid+9 {
		t.Errorf("pid %d", pid)
	}
	if got := query[string](c, "SHOW lock_timeout"); got != "30ms" {
		t.Errorf("lock_timeout = %s", got)
	}
}

// Nobody but the session's owner knows why, so it has to be told.
func TestASessionWhoseCallsCannotBeAnsweredIsToldWhy(t *testing.T) {
	b := newBed(t)
	b.serve("bob")
	c := b.connect("alice")
	c.refuses(launch+"1)", "57014")
	select {
	case e := <-c.failed:
		if e.Code != elog.InsufficientPrivilege {
			t.Errorf("got %+v", e)
		}
	case <-within(t).Done():
		t.Error("nobody was told")
	}
}
