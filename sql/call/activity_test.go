package call_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
)

const columnsOf = `SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = '%s.pg_stat_activity'::regclass AND attnum > 0`

func TestTheViewHasExactlyTheServersColumns(t *testing.T) {
	c := newBed(t).connect("alice")
	got, want := query[string](c, fmt.Sprintf(columnsOf, "pgexthost")), query[string](c, fmt.Sprintf(columnsOf, "pg_catalog"))
	if got != want || !strings.Contains(got, "query_id") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

const row = `SELECT concat_ws('|', usename, datname, coalesce(backend_type, '-'), coalesce(wait_event_type, '-'), coalesce(wait_event, '-'), coalesce(state, '-'), query,
	coalesce(client_port::text, '-')) FROM pgexthost.pg_stat_activity WHERE pid = $1`

func TestAWorkersSessionShowsAsAWorker(t *testing.T) {
	b := newBed(t)
	w := b.run("bob", "one")
	w.session.exec("SELECT 42")
	super := b.connect("postgres")
	want := "bob|" + b.database + "|the type|Extension|NapTime|idle|SELECT 42|-"
	eventually(b, "the idle session", func() bool { return query[string](super, row, w.pid()) == want })
	if n := query[int](super, "SELECT count(*) FROM pgexthost.pg_stat_activity WHERE pid = $1", w.session.PgConn().PID()); n != 0 {
		t.Error("the session's own pid shows, too")
	}
	// While it waits for the server, that counts.
	w.session.exec("BEGIN; SELECT pg_advisory_xact_lock(1)")
	other := b.plain(b.database, "bob")
	other.exec("BEGIN; SELECT pg_advisory_xact_lock(2)")
	done := make(chan error, 1)
	go func() { done <- w.session.try("SELECT pg_advisory_xact_lock(2)") }()
	want = "bob|" + b.database + "|the type|Lock|advisory|active|SELECT pg_advisory_xact_lock(2)|-"
	eventually(b, "the lock", func() bool { return query[string](super, row, w.pid()) == want })
	other.exec("COMMIT")
	check(t, <-done)
}

func TestAWorkerWithoutASessionDoesNotShow(t *testing.T) {
	b := newBed(t)
	w := b.run("bob", "one")
	b.host.change(func(i *plugins.WorkerInfo) { i.BackendPid = 0 })
	c := b.connect("postgres")
	if n := query[int](c, "SELECT count(*) FROM pgexthost.pg_stat_activity WHERE pid = $1", w.pid()); n != 0 {
		t.Errorf("%d rows", n)
	}
	if n := query[int](c, "SELECT count(*) FROM pgexthost.pg_stat_activity WHERE pid = $1", w.session.PgConn().PID()); n != 1 {
		t.Errorf("%d rows of the session", n)
	}
}

// What a worker has become counts, not as what the host has logged in.
func TestNobodySeesOfAWorkerWhatPostgreSQLWouldHide(t *testing.T) {
	b := newBed(t)
	w := b.run("postgres", "one")
	bob := query[int64](b.plain(b.database, "postgres"), "SELECT 'bob'::regrole::oid::int8")
	b.host.change(func(i *plugins.WorkerInfo) { i.RoleOID = uint32(bob) })
	admin := b.plain("postgres", "postgres")
	admin.exec("GRANT bob TO alice; GRANT pg_read_all_stats TO owner")
	t.Cleanup(func() { admin.exec("REVOKE bob FROM alice; REVOKE pg_read_all_stats FROM owner") })
	hidden := "postgres|" + b.database + "|-|-|-|-|<insufficient privilege>|-"
	known := "bob|" + b.database + "|the type|Extension|NapTime|idle|"
	for user, want := range map[string]string{
		"stranger": hidden, "bob": known + "SELECT 'secret'|-", "alice": known + "SELECT 'secret'|-", "owner": known + "|-", "postgres": known + "|-",
	} {
		if got := query[string](b.connect(user), row, w.pid()); got != want {
			t.Errorf("%s: got %s, want %s", user, got, want)
		}
	}
	direct := b.plain(b.database, "stranger")
	direct.refuses("SELECT * FROM pgexthost.known_sessions('postgres', '')", "42501")
	direct.refuses("SELECT pgexthost.signal_worker('postgres', NULL, 1, true, 0)", "42501")
	stranger := b.connect("stranger")
	stranger.refuses("SELECT * FROM pgexthost.known_sessions('bob', (SELECT proof FROM pgexthost.certificate))", "42501")
	stranger.refuses("SELECT * FROM pgexthost.secret", "42501")
}

func TestADirectSessionSeesWhatTheServerHas(t *testing.T) {
	b := newBed(t)
	b.run("bob", "one")
	for _, user := range []string{"postgres", "stranger"} {
		c := b.plain(b.database, user)
		const stable = "pid, usename, application_name, backend_start, backend_type, query"
		if n := query[int](c, "SELECT count(*) FROM (SELECT "+stable+" FROM pgexthost.pg_stat_activity EXCEPT SELECT "+stable+" FROM pg_catalog.pg_stat_activity) x"); n != 0 {
			t.Errorf("%s: %d rows differ", user, n)
		}
		if n := query[int](c, "SELECT count(*) FROM pgexthost.pg_wait_events WHERE type = 'Extension' AND name = 'NapTime'"); n != 0 {
			t.Errorf("%s: %d wait events", user, n)
		}
	}
}

func TestWaitEventsOfLibrariesAreListed(t *testing.T) {
	b := newBed(t)
	b.run("bob", "one")
	c := b.connect("stranger")
	got := query[string](c, "SELECT string_agg(type || ' ' || description, ' ' ORDER BY type) FROM pgexthost.pg_wait_events WHERE name IN ('NapTime', 'BgworkerStartup')")
	want := `Extension Waiting for custom wait event "NapTime" defined by extension module IPC Waiting for background worker to start up`
	if got != want {
		t.Errorf("got %s", got)
	}
	if twice := query[int](c, "SELECT count(*) FROM (SELECT FROM pgexthost.pg_wait_events GROUP BY type, name HAVING count(*) > 1) x"); twice != 0 {
		t.Errorf("%d wait events are listed twice", twice)
	}
}

// More text than fits one piece comes in several.
func TestAnAnswerMayBeLong(t *testing.T) {
	b := newBed(t)
	w := b.run("bob", "one")
	text := strings.Repeat("0123456789äöü€", 400)
	b.host.change(func(i *plugins.WorkerInfo) { i.Entry.Type = text })
	c := b.connect("postgres")
	for range 5 {
		if got := query[string](c, "SELECT backend_type FROM pgexthost.pg_stat_activity WHERE pid = $1", w.pid()); got != text {
			t.Fatalf("got %d bytes, want %d: %.100s", len(got), len(text), got)
		}
	}
}
