//go:build linux

package integration

import (
	"fmt"
	"strings"
	"testing"
)

// dialogues are what clients say, each in a session of its own. Tables stay as they
// are: what a dialogue changes it takes back, so that it can be had again.
var dialogues = map[string]func(w *wire){
	"values":              queries("SELECT 1, 'two', NULL, 3.5::numeric, '{a,b}'::text[], E'\\\\x00ff'::bytea, '2026-01-02'::date", "TABLE differ", "VALUES (1), (2)"),
	"no rows, no columns": queries("SELECT", "SELECT 1 WHERE false", "", ";", " ; ; ", "-- nothing", "/* nothing */"),
	"several at once": queries("SELECT 1; SELECT 2; SELECT 3", "SELECT 1; SELECT 1/0; SELECT 3", "SELECT 'a;b'; SELECT $$;$$",
		"BEGIN; INSERT INTO differ VALUES (77, 'x'); COMMIT; SELECT 1; ROLLBACK; DELETE FROM differ WHERE id = 77"),
	"errors at places": queries("SELECT nosuch FROM differ", "SELECT 'é€😀', nosuch", "SELEC 1", "SELECT 1; SELECT nosuch; SELECT 2",
		"SELECT * FROM nosuch", "SELECT 'unterminated", "SELECT 1 +\n\n  'x'::int", "SELECT nosuch(1)", "CREATE TABLE differ ()", "SET nosuch = 1", "SHOW nosuch", "LOAD 'nosuch'"),
	"errors with details": queries("INSERT INTO differ VALUES (1, 'again')", "INSERT INTO differ VALUES (NULL, 'x')", "INSERT INTO differ VALUES (9, repeat('x', 50))",
		"SELECT 'x'::int", "SELECT 1/(id - 1) FROM differ", "DO $$ BEGIN RAISE 'mine' USING ERRCODE = 'ZZ123', DETAIL = 'd', HINT = 'h', TABLE = 't', COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 'y', SCHEMA = 's'; END $$",
		"DO $$ BEGIN EXECUTE 'SELECT nosuch'; END $$"),
	"notices": queries("DO $$ BEGIN RAISE NOTICE 'n' USING DETAIL = 'd', HINT = 'h'; RAISE INFO 'i'; RAISE WARNING 'w' USING ERRCODE = 'PX0AB'; RAISE LOG 'l'; RAISE DEBUG 'b'; END $$",
		"SET client_min_messages = debug5", "SELECT 1", "RESET client_min_messages", "COMMIT", "BEGIN", "BEGIN", "ROLLBACK", "ROLLBACK",
		"DROP TABLE IF EXISTS nosuch", "DO $$ BEGIN RAISE INFO 'x' USING ERRCODE = 'PX002', DETAIL = 'not the nonce'; END $$"),
	"transactions": queries("BEGIN", "SELECT 1/0", "SELECT 1", "COMMIT", "BEGIN", "SAVEPOINT a", "SELECT nosuch", "ROLLBACK TO a", "SELECT 1", "COMMIT AND CHAIN", "ROLLBACK"),
	"what is reported": queries("SET client_encoding = latin1", "SELECT 'é'", "SET client_encoding = utf8", "SET application_name = 'other'", "SET TimeZone = 'Asia/Tokyo'",
		"SET DateStyle = german", "SELECT now() - now(), '2026-01-02'::date", "SET standard_conforming_strings = off", "SELECT '\\'' AS nosuch", "BEGIN; SET LOCAL TimeZone = 'UTC'; COMMIT", "RESET ALL", "DISCARD ALL"),
	"prepared by SQL": queries("PREPARE p(int) AS SELECT $1, id FROM differ WHERE id = $1", "EXECUTE p(2)", "EXECUTE p('x')", "EXECUTE q", "DEALLOCATE p", "EXECUTE p(2)"),
	"cursors":         queries("BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR TABLE differ ORDER BY id", "FETCH 2 c", "COMMIT", "FETCH BACKWARD 1 c", "FETCH ALL c", "CLOSE c", "FETCH c"),
	"much at once":    queries("SELECT repeat('x', 3000000)", "SELECT i, repeat('y', i % 700) FROM generate_series(1, 5000) i", "SELECT repeat('z', 70000) FROM generate_series(1, 60)"),
	"a long statement": queries("SELECT length('"+strings.Repeat("x", 3<<20)+"')", "SELECT 1 /* "+strings.Repeat("/* */ ", 1<<18)+" */, nosuch",
		"SELECT '"+strings.Repeat("é", 1<<19)+"' || nosuch"),
	"large objects": queries("BEGIN; SELECT lo_create(987654); SELECT lo_put(987654, 0, decode(repeat('ab', 100000), 'hex')); SELECT length(lo_get(987654)); ROLLBACK", "SELECT lo_get(987654)"),
	"timeouts":      queries("SET statement_timeout = 20", "SELECT pg_sleep(60)", "SET LOCAL statement_timeout = 0", "RESET statement_timeout", "SET lock_timeout = 1; SELECT 1"),
	"listening":     queries("LISTEN differ", "NOTIFY differ, 'one'; NOTIFY differ, 'two'", "BEGIN; NOTIFY differ, 'never'; ROLLBACK", "UNLISTEN *", "NOTIFY differ"),
	"names the host has its own of": queries("SELECT count(*) > 0 FROM pg_stat_activity", "SELECT pg_catalog.pg_cancel_backend(0)", "SELECT 'pg_stat_activity', nosuch",
		"SELECT pg_terminate_backend('x')", "SELECT nosuch FROM pg_stat_activity"),

	"queries sent ahead": func(w *wire) {
		var all [][]byte
		for i := range 200 {
			all = append(all, simple(fmt.Sprintf("SELECT %d, 1/(%d %% 7)", i, i)))
		}
		w.send(all...)
		w.ready(200)
	},
	"extended": func(w *wire) {
		w.send(parse("s", "SELECT id, name FROM differ WHERE id > $1 ORDER BY id"), describe('S', "s"), synced())
		w.ready(1)
		w.send(bind("p", "s", true, "0"), describe('P', "p"), execute("p", 1), execute("p", 1), execute("p", 0), execute("p", 0), synced())
		w.ready(1)
		w.send(bind("", "s", false, "-"), execute("", 0), closes('S', "s"), closes('S', "nosuch"), synced(), bind("", "s", false, "0"), synced())
		w.ready(2)
		w.send(parse("", ""), bind("", "", false), describe('P', ""), execute("", 0), synced())
		w.ready(1)
	},
	"portals": func(w *wire) {
		w.send(simple("BEGIN"), parse("a", "SELECT i FROM generate_series(1, 9) i"), bind("one", "a", false), bind("two", "a", true), synced())
		w.ready(2)
		for range 3 {
			w.send(execute("one", 2), execute("two", 3), synced())
			w.ready(1)
		}
		w.send(closes('P', "one"), execute("one", 1), synced(), simple("ROLLBACK"), execute("two", 1), synced())
		w.ready(3)
	},
	"flushes": func(w *wire) {
		w.send(parse("", "SELECT 1"), flush())
		w.until('1')
		w.send(bind("", "", false), flush())
		w.until('2')
		w.send(execute("", 0), flush())
		w.until('C')
		w.send(parse("", "SELECT nosuch"), flush())
		w.until('E')
		w.send(unnamed("SELECT 2"), synced(), unnamed("SELECT 3"), synced())
		w.ready(2)
	},
	"errors inside a pipeline": func(w *wire) {
		w.send(unnamed("SELECT 1"), unnamed("SELECT nosuch"), unnamed("SELECT 2"), synced(),
			unnamed("SELECT 3"), parse("", "SELECT é nosuch"), synced(),
			parse("t", "SELECT 1/$1::int"), bind("", "t", false, "0"), execute("", 0), bind("", "t", false, "1"), execute("", 0), synced(),
			parse("t", "SELECT 1"), synced(), bind("", "nosuch", false), synced(), bind("", "t", false), synced(), describe('P', "nosuch"), synced(), execute("nosuch", 0), synced(), unnamed("SELECT 4"), synced())
		w.ready(9)
	},
	"a pipeline's transactions": func(w *wire) {
		w.send(unnamed("INSERT INTO differ VALUES (50, 'p')"), unnamed("SELECT 1/0"), synced(), unnamed("SELECT count(*) FROM differ"), synced(),
			unnamed("BEGIN"), unnamed("SELECT nosuch"), synced(), unnamed("SELECT 1"), synced(), unnamed("ROLLBACK"), synced(), unnamed("VACUUM differ"), unnamed("VACUUM differ"), synced())
		w.ready(6)
	},
	"simple and extended mixed": func(w *wire) {
		w.send(parse("m", "SELECT 'm'"), simple("SELECT 'q'; SELECT nosuch"), bind("", "m", false), execute("", 0), synced(), simple("SELECT 'r'"))
		w.ready(3)
	},
	"copy out": func(w *wire) {
		w.send(simple("COPY differ TO STDOUT"), simple("COPY (SELECT i, repeat('c', i % 300) FROM generate_series(1, 9000) i) TO STDOUT (FORMAT binary)"),
			simple("COPY differ TO STDOUT; SELECT 1; COPY differ TO STDOUT (FORMAT csv, HEADER)"), simple("COPY (SELECT 1/(3 - i) FROM generate_series(1, 5) i) TO STDOUT"), simple("COPY nosuch TO STDOUT"),
			unnamed("COPY differ TO STDOUT"), synced())
		w.ready(6)
	},
	"copy in": func(w *wire) {
		w.send(simple("BEGIN; COPY differ FROM STDIN; SELECT count(*) FROM differ"))
		w.until('G')
		w.send(copyData("60\tsix"), copyData("ty\n61\t"), copyData(`\N`+"\n"), copyDone())
		w.ready(1)
		w.send(simple("ROLLBACK"), simple("COPY differ FROM STDIN"))
		w.until('G')
		w.send(copyData("62\tx\n"), copyFail("no more of it"))
		w.ready(1)
		w.send(simple("COPY differ FROM STDIN"))
		w.until('G')
		w.send(copyData("63\tx\nnonsense\n64\ty\n"), copyData(strings.Repeat("65\ty\n", 20000)), copyDone(), simple("SELECT count(*) FROM differ"))
		w.ready(2)
	},
	"copy in, data sent ahead": func(w *wire) {
		w.send(simple("BEGIN"), simple("COPY differ FROM STDIN"), copyData("70\tx\n"), copyDone(), simple("SELECT count(*) FROM differ"), simple("ROLLBACK"),
			simple("COPY nosuch FROM STDIN"), copyData("70\tx\n"), copyDone(), simple("SELECT 1"))
		w.ready(6)
	},
	"copy in, extended": func(w *wire) {
		w.send(simple("BEGIN"), unnamed("COPY differ FROM STDIN"), synced(), copyData("71\tx\n"), copyDone(), synced(), unnamed("SELECT count(*) FROM differ"), synced(), simple("ROLLBACK"))
		w.ready(4)
		w.send(unnamed("COPY differ FROM STDIN"), copyData("72\n"), copyDone(), synced(), unnamed("COPY nosuch FROM STDIN"), synced(), copyData("72\tx\n"), copyDone(), synced(), unnamed("SELECT 2"), synced())
		w.ready(4)
	},
	"copy in, another message amid": func(w *wire) {
		w.send(simple("COPY differ FROM STDIN"))
		w.until('G')
		w.send(flush(), synced(), copyData("73\tx\n"), simple("SELECT 1"))
		w.ready(2)
		w.send(simple("SELECT 2"))
		w.ready(1)
	},
	"functions": func(w *wire) {
		w.send(call(int4pl, int4(40), int4(2)), call(int4div, int4(1), int4(0)), call(4294967, int4(1)), call(int4pl, int4(1)),
			simple("BEGIN"), call(int4div, int4(1), int4(0)), call(int4pl, int4(1), int4(1)), simple("ROLLBACK"), unnamed("SELECT 1"), call(int4pl, int4(1), int4(1)), synced())
		w.ready(10)
	},
	"an end":               func(w *wire) { w.send(simple("SELECT 1"), terminate()); w.until(0) },
	"an end in a pipeline": func(w *wire) { w.send(unnamed("SELECT 1"), flush(), terminate()); w.until(0) },
	"its own end": func(w *wire) {
		w.send(simple("SELECT pg_terminate_backend(pg_backend_pid())"), simple("SELECT 1"))
		w.until(0)
	},
	"no message type": func(w *wire) { w.send(simple("SELECT 1"), message('y', nil), simple("SELECT 2")); w.until(0) },
	"no string": func(w *wire) {
		w.send(message('Q', []byte("SELECT 1")), simple("SELECT 2"), message('P', []byte("x")), synced(), message('B', text("x")), synced(), message('E', text("")), synced(), message('D', []byte{'x', 0}), synced())
		w.ready(6)
	},
}

// OIDs of functions: they are PostgreSQL's own, and stay.
const (
	int4div = 154
	int4pl  = 177
)

// queries is a dialogue of one query after the other.
func queries(all ...string) func(w *wire) {
	return func(w *wire) {
		for _, sql := range all {
			w.send(simple(sql))
			w.ready(1)
		}
	}
}

// What a client is told through the gateway is, byte by byte, what the server says:
// whether its messages come as a whole, or in pieces of any size.
func TestEveryAnswerIsTheServersToTheByte(t *testing.T) {
	newDatabase(t, "differ")
	server := privateServer(t)
	g := startGateway(t, server)
	execSQL(t, direct(server).conninfo("differ"), `CREATE TABLE differ (id int PRIMARY KEY, name varchar(20)); INSERT INTO differ VALUES (1, 'one'), (2, 'zwei'), (3, NULL)`)
	for name, have := range dialogues {
		t.Run(name, func(t *testing.T) {
			want := transcript(t, direct(server), have, 0)
			for _, piece := range []int{0, 1, 7, 4096} {
				if piece == 1 && strings.HasPrefix(name, "a long") {
					continue
				}
				compareTranscripts(t, piece, transcript(t, g.place(), have, piece), want)
			}
		})
	}
}

func transcript(t *testing.T, p place, have func(w *wire), piece int) []string {
	t.Helper()
	w := dialWire(t, p, "differ")
	w.piece = piece
	have(w)
	_ = w.conn.Close()
	if said := len(w.transcript) - len(w.greeting); said < 2 {
		t.Fatalf("only %d messages: the dialogue has not been had", said)
	}
	return w.transcript
}

func compareTranscripts(t *testing.T, piece int, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("pieces of %d: message %d is\n\t%.500s\nbut the server says\n\t%.500s", piece, i, g, w)
			return
		}
	}
}
