package scanner

import (
	"strings"
	"testing"
	"time"
)

// split returns the statements of a text with bars between.
func split(sql string, o Options) string {
	var all []string
	for _, s := range Scan(sql, o) {
		piece := sql[s.Start:s.End]
		if s.Unterminated {
			piece += "…"
		}
		all = append(all, piece)
	}
	return strings.Join(all, "|")
}

func TestATextIsSplitWhereItsStatementsEnd(t *testing.T) {
	for sql, want := range map[string]string{
		"":                                     "",
		" ;; -- nothing; at all\n/* ; */;":     "",
		"SELECT 1":                             "SELECT 1",
		" SELECT 1 ; /* a */ SELECT 2 -- b\n":  "SELECT 1|SELECT 2",
		"-- a comment; with one\n\rSELECT 1;":  "SELECT 1",
		"--a;\rSELECT 1;--b":                   "SELECT 1",
		"SELECT 1-- a;\n; SELECT 2":            "SELECT 1|SELECT 2",
		"SELECT 1 +-- a;\n1; SELECT 2":         "SELECT 1 +-- a;\n1|SELECT 2",
		"SELECT 1 */* ; */2;SELECT - -1":       "SELECT 1 */* ; */2|SELECT - -1",
		"SELECT ';' ;\vSELECT 'it''s;';":       "SELECT ';'|SELECT 'it''s;'",
		`SELECT E'\';', 'a\'; SELECT e'\\';`:   `SELECT E'\';', 'a\'|SELECT e'\\'`,
		`SELECT ";""" ; SELECT U&'\;'`:         `SELECT ";"""|SELECT U&'\;'`,
		`SELECT U&";\"; SELECT u&/**/'\;'`:     `SELECT U&";\"|SELECT u&/**/'\;'`,
		"SELECT B'1''0;', X';'; SELECT n'\\;'": "SELECT B'1''0;', X';'|SELECT n'\\;'",
		"SELECT $$;$$; SELECT $a$;$$;$A$;$a$":  "SELECT $$;$$|SELECT $a$;$$;$A$;$a$",
		"SELECT $a$;$b$a$;$ü_1$;$a$;$ü_1$":     "SELECT $a$;$b$a$|$ü_1$;$a$;$ü_1$",
		"SELECT $1$$;$$ + $2; SELECT a$b$c;":   "SELECT $1$$;$$ + $2|SELECT a$b$c",
		"SELECT $a + $1a$; SELECT $":           "SELECT $a + $1a$|SELECT $",
		"SELECT /* ; /* ; */ ; */ 1; SELECT":   "SELECT /* ; /* ; */ ; */ 1|SELECT",
		"SELECT /*/ ; */; */ 1; SELECT":        "SELECT|*/ 1|SELECT",
		"SELECT /**/1/***/;/*/**/*/SELECT":     "SELECT /**/1|SELECT",
		"SELECT (1; 2); SELECT [1; 2]":         "SELECT (1; 2)|SELECT [1|2]",
		"SELECT 1); COMMIT":                    "SELECT 1)|COMMIT",
		"SELECT (1; COMMIT":                    "SELECT (1; COMMIT…",
		"CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); SELECT 3": "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)|SELECT 3",
		"create or replace function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3": "create or replace function f() returns int " +
			"begin atomic select 1; select case when true then 2 end; end|select 3",
		"CREATE FUNCTION f() BEGIN ATOMIC SELECT 1 AS end; SELECT 1 AS case; SELECT x.end; END; END": "CREATE FUNCTION f() BEGIN ATOMIC SELECT 1 AS end; SELECT 1 AS case; SELECT x.end; END|END",
		"CREATE PROCEDURE p() BEGIN /**/ ATOMIC; END; END":                                           "CREATE PROCEDURE p() BEGIN /**/ ATOMIC; END|END",
		"CREATE PROCEDURE p() BEGIN ATOMIC END; END":                                                 "CREATE PROCEDURE p() BEGIN ATOMIC END|END",
		"CREATE PROCEDURE p() BEGIN ATOMIC; SELECT 1; COMMIT":                                        "CREATE PROCEDURE p() BEGIN ATOMIC; SELECT 1; COMMIT…",
		"CREATE FUNCTION f(begin atomic) RETURN 1; END":                                              "CREATE FUNCTION f(begin atomic) RETURN 1|END",
		"CREATE FUNCTION begin.atomic() RETURN 1; END":                                               "CREATE FUNCTION begin.atomic() RETURN 1|END",
		"CREATE OR FUNCTION f() BEGIN ATOMIC; END":                                                   "CREATE OR FUNCTION f() BEGIN ATOMIC|END",
		"CREATE TABLE t (begin atomic); COMMIT":                                                      "CREATE TABLE t (begin atomic)|COMMIT",
		"CREATE VIEW v AS SELECT 1 begin atomic; END":                                                "CREATE VIEW v AS SELECT 1 begin atomic|END",
		"BEGIN; SELECT CASE WHEN true THEN 1 END; END;":                                              "BEGIN|SELECT CASE WHEN true THEN 1 END|END",
		"SELECT 'open; \n":                 "SELECT 'open; \n…",
		"SELECT 1; SELECT \"open;":         "SELECT 1|SELECT \"open;…",
		"SELECT $x$ open; $X$":             "SELECT $x$ open; $X$…",
		"SELECT /* open; ":                 "SELECT /* open; …",
		"SELECT 1; /* a */ /* open; ":      "SELECT 1|/* open; …",
		`SELECT E'open\`:                   `SELECT E'open\…`,
		`SELECT E'open\';`:                 `SELECT E'open\';…`,
		"SELECT E'a' -- b\n '\\'; x'; END": "SELECT E'a' -- b\n '\\'; x'|END",
		"SELECT E'a'\r'\\';'; END":         "SELECT E'a'\r'\\';'|END",
		"SELECT 'a'\n'\\'; END":            "SELECT 'a'\n'\\'|END",
		`SELECT E'a' '\'; SELECT`:          `SELECT E'a' '\'|SELECT`,
		"SELECT E'a' /*\n*/ '\\'; SELECT":  "SELECT E'a' /*\n*/ '\\'|SELECT",
		"SELECT E'a' --\n":                 "SELECT E'a'",
		"SELECT xe'\\'; SELECT _e'\\'":     "SELECT xe'\\'|SELECT _e'\\'",
		"SELECT 1e'\\';'; SELECT 0xE'\\'":  "SELECT 1e'\\';'|SELECT 0xE'\\'",
		"SELECT 1..2; SELECT 1_000.5e-3":   "SELECT 1..2|SELECT 1_000.5e-3",
		"SELECT ü1$; SELECT;":              "SELECT ü1$|SELECT",
		"\\;":                              "\\",
	} {
		if got := split(sql, usual); got != want {
			t.Errorf("%q:\ngot  %q\nwant %q", sql, got, want)
		}
	}
}

func TestWhatCannotBeReadForCertainIsLeftAlone(t *testing.T) {
	for _, encoding := range []string{"SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004", "windows-932", "sjis"} {
		if got := Scan("LOAD 'a'", Options{StandardConformingStrings: true, ClientEncoding: encoding}); got != nil {
			t.Errorf("%s: got %+v", encoding, got)
		}
	}
	for _, encoding := range []string{"UTF8", "SQL_ASCII", "LATIN1", "EUC_JP", "WIN1252", "MULE_INTERNAL"} {
		if got := Scan("LOAD 'a'", Options{StandardConformingStrings: true, ClientEncoding: encoding}); len(got) != 1 || got[0].Command == nil {
			t.Errorf("%s: got %+v", encoding, got)
		}
	}
	if got := Scan("LOAD 'a'\x00", usual); got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestAnOrdinaryStatementConcernsNobody(t *testing.T) {
	for sql, want := range map[string]bool{
		hot:     false,
		"BEGIN": false, "END;": false, ";": false, "": false, "s": false, "-": false, "/*": false,
		"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 2;": false,
		"/* show */ -- set\n SELECT 1 FROM pg_stat_activities":               false,
		"SELECT 1; SELECT 2 ;":           false,
		"SELECT * FROM PG_stat_ACTIVITY": true,
		"/* a */ -- b\n SHOW a.b":        true,
		"SELECT 1; /* a */ LOAD 'x'":     true,
		"SELECT ';'; reset a.b":          true,
		";SET a.b = 1":                   true,
		"SELECT Pg_Reload_Conf()":        true,
	} {
		if got := MayConcern([]byte(sql)); got != want {
			t.Errorf("%q: got %v", sql, got)
		}
	}
}

func TestMayConcernAllocatesNothing(t *testing.T) {
	text := []byte("/* a */ " + hot + " SELECT pg_reload_con")
	if n := testing.AllocsPerRun(100, func() { MayConcern(text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTheWorkGrowsWithTheText repeats what a careless scanner comes back to again
// and again. At a microsecond a byte these texts would take the square of that: a minute.
func TestTheWorkGrowsWithTheText(t *testing.T) {
	const size = 1 << 18
	for _, piece := range []string{
		"$a", "$a$b", "$a$ ", "$", "/*", "/*/", "--", "-- \n", "''\n", "'a'", "E'\\'", "U&'a' ", "U&\"a\"/**/", "U&'' uescape ", "(", "[(", ";", ";/*", "; -- a\n", ";'",
		"1e", "0x", "1_", "+-", "a.", ",", "pg_catalog.", "pg_catalog.pg_stat_activity.a,", "a FROM pg_stat_activity, ", "WITH pg_stat_activity AS (", "begin atomic ", "case ", "x y ",
	} {
		for _, head := range []string{"", "SELECT pg_reload_conf(), ", "SELECT * FROM pg_stat_activity, ", "CREATE FUNCTION ", "SET a.b TO ", "/*", "'"} {
			sql := head + strings.Repeat(piece, size/len(piece))
			start := time.Now()
			Scan(sql, usual)
			MayConcern([]byte(sql))
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s%s…: %v", head, piece, took)
			}
		}
	}
}
