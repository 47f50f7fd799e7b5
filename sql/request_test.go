package sql_test

import (
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/connect"
)

// installed is a database of the owner's with the schema, in which alice is an
// operator and bob a reader.
func installed(t *testing.T) *connect.Conn {
	t.Helper()
	conn := newDatabase(t, "owner")
	install(t, conn, "pgexthost", "worker_spi")
	exec(t, session(t, "postgres", "postgres"), "GRANT pgexthost_operator TO alice; GRANT pgexthost_reader TO bob")
	return conn
}

func TestLaunchRecordsTheRequestInTheCallersTransaction(t *testing.T) {
	conn := installed(t)
	exec(t, conn, `CREATE FUNCTION public.launches() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pgexthost.launch('lib', 'triggered'); RETURN NULL; END $$;
		CREATE TABLE public.t (a int); CREATE TRIGGER launches AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.launches()`)
	exec(t, conn, `BEGIN; SELECT pgexthost.launch('lib', 'rolled back'); ROLLBACK;
		BEGIN; SELECT pgexthost.launch('lib', 'kept'); SAVEPOINT s; SELECT pgexthost.launch('lib', 'rolled back'); ROLLBACK TO s; COMMIT;
		BEGIN; INSERT INTO public.t VALUES (1); ROLLBACK; INSERT INTO public.t VALUES (1), (2)`)
	got := query[string](t, conn, `SELECT string_agg(function || ' ' || state, ', ' ORDER BY id) FROM pgexthost.requests`)
	if want := "kept pending, triggered pending, triggered pending"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLaunchFillsInWhatIsLeftOut(t *testing.T) {
	conn := installed(t)
	alice := another(t, conn, "alice")
	exec(t, alice, `SELECT pgexthost.launch('lib', 'main');
		SELECT pgexthost.launch('lib', 'main', 'n', 't', -5, '\x00ff', 7, 'postmaster', 'key');
		SELECT pgexthost.launch('lib', 'main', NULL, NULL, NULL, NULL, NULL, NULL, NULL)`)
	got := query[string](t, conn, `SELECT string_agg(concat_ws('|', name, type, main_arg, encode(extra, 'hex'), restart_time, start_time, dedup_key, requested_by), E'\n' ORDER BY id)
		FROM pgexthost.requests`)
	want := "lib main|lib main|0||-1|running|alice\nn|t|-5|00ff|7|postmaster|key|alice\nlib main|lib main|0||-1|running|alice"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLaunchRefusesWhatTheHostWould(t *testing.T) {
	conn := installed(t)
	long := strings.Repeat("x", 96)
	for _, tt := range []struct{ args, sqlstate, message string }{
		{`'lib', 'main', 'n', restart_time => -2`, "22023", `background worker "n": invalid restart interval`},
		{`'lib', 'main', 'n', restart_time => 86400001`, "22023", `background worker "n": invalid restart interval`},
		{`'lib', 'main', 'n', start_time => 'soon'`, "22023", `background worker "n": invalid start time`},
		{`'lib', 'main', '` + long + `'`, "22023", `background worker "` + long + `": name is too long`},
		{`'lib', '` + long + `', 'n'`, "22023", `background worker "n": function name is too long`},
		{`'lib', 'main', 'n', '` + long + `'`, "22023", `background worker "n": type is too long`},
		{`'lib', 'main', 'n', extra => decode(repeat('00', 129), 'hex')`, "22023", `extra data are longer than 128 bytes`},
		{`'/tmp/lib', 'main'`, "42501", `permission denied to launch functions of library "/tmp/lib"`},
		{`'$libdir/lib', 'main'`, "42501", `permission denied to launch functions of library "$libdir/lib"`},
		{`'postgres', 'ParallelWorkerMain'`, "42501", `permission denied to launch functions of library "postgres"`},
		{`'lib', 'main', E'a\nb'`, "22023", `background worker "a?b": name contains a control character`},
		{`'lib', 'main', 'n', E'a\tb'`, "22023", `background worker "n": type contains a control character`},
		{`E'lib\x01', 'main', 'n'`, "22023", `background worker "n": library name contains a control character`},
		{`'lib', E'main\x7f'`, "22023", `background worker "lib main?": name contains a control character`},
		{`'', 'main'`, "22004", `a library and a function are needed`},
		{`'lib', NULL`, "22004", `a library and a function are needed`},
	} {
		if e := refuses(t, conn, "SELECT pgexthost.launch("+tt.args+")", tt.sqlstate); e.Message != tt.message {
			t.Errorf("%s: got %q", tt.args, e.Message)
		}
	}
	if n := query[int](t, conn, "SELECT count(*) FROM pgexthost.requests"); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestANameThatIsLeftOutIsMadeToFit(t *testing.T) {
	conn := installed(t)
	x, y, umlauts := strings.Repeat("x", 200), strings.Repeat("y", 95), strings.Repeat("ü", 47)
	for _, tt := range []struct{ library, function, want string }{
		{"lib", "main", "lib main"},
		{"lib", y, "lib " + y[:91]},
		{x, "main", x[:90] + " main"},
		{x, y, x[:47] + " " + y[:47]},
		{x[:40], y, x[:40] + " " + y[:54]},
		{x, umlauts, x[:47] + " " + strings.Repeat("ü", 23)},
	} {
		id := query[int64](t, conn, "SELECT pgexthost.launch($1, $2)", tt.library, tt.function)
		got := query[string](t, conn, "SELECT name || '|' || type FROM pgexthost.requests WHERE id = $1", id)
		if got != tt.want+"|"+tt.want || len(tt.want) > 95 {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestADeclaredWorkerIsRefusedWhereTheHostWouldNotTakeIt(t *testing.T) {
	conn := installed(t)
	for values, message := range map[string]string{
		`'', 'lib', 'main', NULL`:         "a background worker needs a name",
		`E'a\nb', 'lib', 'main', NULL`:    `background worker "a?b": name contains a control character`,
		`'n', 'lib', 'main', E'a\rb'`:     `background worker "n": type contains a control character`,
		`'n', 'lib', E'ma\x0cin', 'type'`: `background worker "n": function name contains a control character`,
	} {
		if e := refuses(t, conn, "INSERT INTO pgexthost.worker (name, library, function, type) VALUES ("+values+")", "22023"); e.Message != message {
			t.Errorf("%s: got %q", values, e.Message)
		}
	}
	exec(t, conn, "INSERT INTO pgexthost.worker (name, library, function, type) VALUES ('n', 'lib', 'main', '')")
	refuses(t, conn, "UPDATE pgexthost.worker SET name = ''", "22023")
}

// In an encoding with fewer bytes a character than the host's, what counts is the
// host's.
func TestLengthsAreThoseOfTheHostsEncoding(t *testing.T) {
	admin := session(t, "postgres", "postgres")
	exec(t, admin, "CREATE DATABASE latin OWNER owner ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
	t.Cleanup(func() { exec(t, admin, "DROP DATABASE latin WITH (FORCE)") })
	conn := session(t, "latin", "owner")
	install(t, conn, "pgexthost")
	fits := strings.Repeat("ü", 47)
	refuses(t, conn, "SELECT pgexthost.launch('lib', 'main', '"+fits+"ü')", "22023")
	exec(t, conn, "SELECT pgexthost.launch('lib', 'main', '"+fits+"')")
}

// SET ROLE is how a pooled application says for whom it acts.
func TestARequestIsThatOfTheSessionsRole(t *testing.T) {
	conn := installed(t)
	exec(t, another(t, conn, "postgres"), `GRANT alice TO bob; CREATE FUNCTION public.hers() RETURNS bigint LANGUAGE sql SECURITY DEFINER
		SET search_path = pg_catalog, pg_temp AS $$ SELECT pgexthost.launch('lib', 'hers') $$; ALTER FUNCTION public.hers() OWNER TO alice`)
	t.Cleanup(func() { exec(t, session(t, "postgres", "postgres"), "REVOKE alice FROM bob") })
	exec(t, another(t, conn, "bob"), "SELECT public.hers(); SET ROLE alice; SELECT pgexthost.launch('lib', 'as alice'); SELECT public.hers()")
	if got := query[string](t, conn, "SELECT string_agg(requested_by, ',' ORDER BY id) FROM pgexthost.requests"); got != "bob,alice,alice" {
		t.Errorf("got %s", got)
	}
}

// A repeated transaction, which sees what the other has entered, is the remedy.
func TestALaunchWithATakenKeyFailsAtRepeatableReadUntilItIsRepeated(t *testing.T) {
	conn := installed(t)
	const begin, launch = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pgexthost.requests", "SELECT pgexthost.launch('lib', 'main', dedup_key => 'k')"
	exec(t, conn, begin)
	id := query[int64](t, another(t, conn, "owner"), launch)
	refuses(t, conn, launch, "40001")
	exec(t, conn, "ROLLBACK; "+begin)
	if got := query[int64](t, conn, launch); got != id {
		t.Errorf("got %d, want %d", got, id)
	}
	exec(t, conn, "COMMIT")
}

func TestAKeyHasOneLiveRequest(t *testing.T) {
	conn := installed(t)
	first := query[int64](t, conn, "SELECT pgexthost.launch('lib', 'main', dedup_key => 'k')")
	if again := query[int64](t, conn, "SELECT pgexthost.launch('lib', 'other', dedup_key => 'k')"); again != first {
		t.Errorf("got %d, want %d", again, first)
	}
	exec(t, conn, "SELECT pgexthost.terminate('lib main')")
	if next := query[int64](t, conn, "SELECT pgexthost.launch('lib', 'main', dedup_key => 'k')"); next == first {
		t.Error("a cancelled request still has the key")
	}
}

func TestOfManyWhoLaunchWithOneKeyAtOnceOneDoes(t *testing.T) {
	conn := installed(t)
	const sessions, rounds = 4, 25
	results := make(chan []int64, sessions)
	for range sessions {
		c := another(t, conn, "owner")
		go func() {
			var ids []int64
			for k := range rounds {
				var id int64
				if err := c.QueryRow(t.Context(), "SELECT pgexthost.launch('lib', 'main', dedup_key => $1::int::text)", k).Scan(&id); err != nil {
					id = -1
				}
				ids = append(ids, id)
			}
			results <- ids
		}()
	}
	want := <-results
	for range sessions - 1 {
		for k, id := range <-results {
			if id != want[k] || id < 0 {
				t.Errorf("key %d has the requests %d and %d", k, id, want[k])
			}
		}
	}
	if n := query[int](t, conn, "SELECT count(*) FROM pgexthost.requests"); n != rounds {
		t.Errorf("%d requests", n)
	}
}

func TestAKeyThatAnOpenTransactionHasIsFreeIfThatRollsBack(t *testing.T) {
	conn := installed(t)
	exec(t, conn, "BEGIN; SELECT pgexthost.launch('lib', 'main', dedup_key => 'k')")
	other := another(t, conn, "owner")
	done := make(chan error, 1)
	go func() {
		_, err := other.Exec(t.Context(), "SELECT pgexthost.launch('lib', 'second', dedup_key => 'k')")
		done <- err
	}()
	watcher := another(t, conn, "postgres")
	for ctx := within(t); !query[bool](t, watcher, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $1)", other.BackendPid()); {
		check(t, ctx.Err())
	}
	exec(t, conn, "ROLLBACK")
	check(t, <-done)
	if got := query[string](t, conn, "SELECT string_agg(function, ',') FROM pgexthost.requests"); got != "second" {
		t.Errorf("got %q", got)
	}
}

func TestTerminateCancelsWhatHasNotStarted(t *testing.T) {
	conn := installed(t)
	id := query[int64](t, conn, "SELECT pgexthost.launch('lib', 'main', 'a')")
	exec(t, conn, "SELECT pgexthost.launch('lib', 'main', 'b')")
	if !query[bool](t, conn, "SELECT pgexthost.terminate($1::bigint)", id) || query[bool](t, conn, "SELECT pgexthost.terminate('a')") ||
		!query[bool](t, conn, "SELECT pgexthost.terminate('b')") || query[bool](t, conn, "SELECT pgexthost.terminate(0)") {
		t.Error("terminate returned the wrong thing")
	}
	if n := query[int](t, conn, "SELECT count(*) FROM pgexthost.requests WHERE state = 'cancelled' AND terminate_by = 'owner' AND ended_at IS NOT NULL"); n != 2 {
		t.Errorf("%d are cancelled", n)
	}
}

func TestWaitsThatCouldNotEndAreRefused(t *testing.T) {
	conn := installed(t)
	exec(t, conn, "SELECT pgexthost.launch('lib', 'main')")
	for _, wait := range []string{"startup", "shutdown"} {
		refuses(t, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pgexthost.wait_for_"+wait+"(1)", "55000")
		exec(t, conn, "ROLLBACK")
		refuses(t, conn, "BEGIN; SELECT pgexthost.wait_for_"+wait+"(pgexthost.launch('lib', 'main'))", "55000")
		exec(t, conn, "ROLLBACK")
		refuses(t, conn, "SELECT pgexthost.wait_for_"+wait+"(77)", "42704")
	}
	refuses(t, conn, "BEGIN; CALL pgexthost.launch_and_wait('lib', 'main')", "2D000")
	exec(t, conn, "ROLLBACK; SELECT pgexthost.terminate(1)")
	if got := query[string](t, conn, "SELECT pgexthost.wait_for_shutdown(1)"); got != "cancelled" {
		t.Errorf("got %q", got)
	}
	refuses(t, conn, "SELECT pgexthost.wait_for_startup(1)", "53000")
	exec(t, conn, "SELECT pgexthost.launch('lib', 'main', 'started'); UPDATE pgexthost.request SET state = 'started' WHERE name = 'started'")
	for _, terminate := range []string{"SELECT pgexthost.terminate('started')", "SAVEPOINT s; SELECT pgexthost.terminate('started'); RELEASE s"} {
		exec(t, conn, "BEGIN; "+terminate)
		refuses(t, conn, "SELECT pgexthost.wait_for_shutdown(max(id)) FROM pgexthost.requests", "55000")
		exec(t, conn, "ROLLBACK")
	}
}

func TestWorkerSpiFunctionsSpeakAsItsCCode(t *testing.T) {
	conn := installed(t)
	e := refuses(t, conn, "SELECT worker_spi_launch(4)", "53000")
	if e.Message != "cannot start background processes without postmaster" || !strings.Contains(e.Hint, "worker_spi_launch_and_wait") {
		t.Errorf("got %+v", e)
	}
	refuses(t, conn, "CALL worker_spi_launch_and_wait(4, flags => '{FLY}')", "0A000")
	refuses(t, conn, "CALL worker_spi_launch_and_wait(4, flags => '{NULL}')", "22004")
	refuses(t, conn, "CALL worker_spi_launch_and_wait(4, flags => '{{ALLOWCONN}}')", "2202E")
	got := query[string](t, conn, "SELECT encode(worker_spi_extra(258, 4294967295, '{ALLOWCONN,ROLELOGINCHECK}'), 'hex')")
	if got != "02010000ffffffff03000000" {
		t.Errorf("extra is %s", got)
	}
}

func TestNobodyButTheRolesMayDoAnything(t *testing.T) {
	conn := installed(t)
	stranger, alice, bob := another(t, conn, "stranger"), another(t, conn, "alice"), another(t, conn, "bob")
	views := []string{"hosts", "slots", "requests", "workers", "stat_activity"}
	for _, view := range views {
		refuses(t, stranger, "SELECT * FROM pgexthost."+view, "42501")
		exec(t, alice, "SELECT * FROM pgexthost."+view)
		exec(t, bob, "SELECT * FROM pgexthost."+view)
	}
	for _, table := range []string{"request", "owner", "published"} {
		refuses(t, alice, "SELECT * FROM pgexthost."+table, "42501")
		refuses(t, bob, "SELECT * FROM pgexthost."+table, "42501")
	}
	for _, call := range []string{"SELECT pgexthost.launch('a', 'b')", "SELECT pgexthost.terminate('x')", "SELECT pgexthost.terminate(1)",
		"SELECT pgexthost.wait_for_shutdown(1)", "CALL pgexthost.launch_and_wait('a', 'b')", "CALL worker_spi_launch_and_wait(1)",
		"INSERT INTO pgexthost.worker (name, library, function) VALUES ('a', 'b', 'c')", "SELECT pgexthost.forget_host(gen_random_uuid())"} {
		refuses(t, stranger, call, "42501")
		refuses(t, bob, call, "42501")
	}
	exec(t, alice, "SELECT pgexthost.launch('a', 'b'); SELECT pgexthost.terminate('a b'); SELECT pgexthost.forget_host(gen_random_uuid())")
	exec(t, alice, "INSERT INTO pgexthost.worker (name, library, function) VALUES ('a', 'b', 'c'); DELETE FROM pgexthost.worker")
	refuses(t, alice, "SELECT pgexthost.terminate_requests('{1}')", "42501")
	refuses(t, alice, "INSERT INTO pgexthost.worker (name, library, function) VALUES ('a', 'postgres', 'c')", "42501")
	refuses(t, alice, "INSERT INTO pgexthost.worker (name, library, function, restart_time) VALUES ('a', 'b', 'c', -1)", "23514")
	exec(t, session(t, "postgres", "postgres"), "GRANT alice TO bob")
	exec(t, another(t, conn, "bob"), "SET ROLE alice; SELECT pgexthost.launch('a', 'b', 'as alice')")
	if got := query[string](t, conn, "SELECT requested_by FROM pgexthost.requests WHERE name = 'as alice'"); got != "alice" {
		t.Errorf("requested by %q", got)
	}
	exec(t, session(t, "postgres", "postgres"), "REVOKE alice FROM bob")
}

// An operator's search_path, or objects that somebody else has put into it, must
// not run with the owner's rights, nor those of who calls a procedure.
func TestASearchPathLeadsNobodyAstray(t *testing.T) {
	conn := installed(t)
	exec(t, another(t, conn, "postgres"), `CREATE SCHEMA evil AUTHORIZATION alice`)
	alice := another(t, conn, "alice")
	exec(t, alice, `SET search_path = evil, pg_catalog;
		CREATE FUNCTION evil.trap_bool(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''XX999''; END';
		CREATE FUNCTION evil.trap_text(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''XX999''; END';
		CREATE OPERATOR evil.= (FUNCTION = evil.trap_bool, LEFTARG = text, RIGHTARG = text);
		CREATE OPERATOR evil.|| (FUNCTION = evil.trap_text, LEFTARG = text, RIGHTARG = text);
		CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''XX999''; END';
		CREATE FUNCTION evil.pg_sleep(double precision) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''XX999''; END'`)
	refuses(t, alice, "SELECT 'a'::text = 'b'::text", "XX999") // the trap works
	exec(t, alice, `SELECT pgexthost.launch('lib', 'main', 'n', dedup_key => 'k'); SELECT pgexthost.terminate('n');
		INSERT INTO pgexthost.worker (name, library, function) VALUES ('a', 'b', 'c'); DELETE FROM pgexthost.worker;
		SELECT * FROM pgexthost.workers, pgexthost.hosts, pgexthost.stat_activity`)
	exec(t, alice, "SELECT pgexthost.wait_for_shutdown(1)")
	exec(t, alice, "SET statement_timeout = '300ms'")
	refuses(t, alice, "CALL pgexthost.launch_and_wait('lib', 'main')", "57014")
	refuses(t, alice, "CALL public.worker_spi_launch_and_wait(1)", "57014")
}
