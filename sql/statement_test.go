package sql

import (
	"fmt"
	"strings"
	"testing"
)

func TestAScriptIsSplitWhereItsStatementsEnd(t *testing.T) {
	for script, want := range map[string]string{
		"":                                    "",
		" ;; -- nothing; at all\n/* ; */":     "",
		"SELECT 1":                            "1:SELECT 1",
		"SELECT 1;SELECT 2;":                  "1:SELECT 1|1:SELECT 2",
		"-- a comment; with one\n\nSELECT 1;": "3:SELECT 1",
		"SELECT ';' ;\nSELECT 'it''s;';":      "1:SELECT ';' |2:SELECT 'it''s;'",
		`SELECT E'\';', 'a\'; SELECT e'\\';`:  `1:SELECT E'\';', 'a\'|1:SELECT e'\\'`,
		`SELECT ";""" ; SELECT U&'\;'`:        `1:SELECT ";""" |1:SELECT U&'\;'`,
		"SELECT $$;$$; SELECT $a$;$$;$a$;":    "1:SELECT $$;$$|1:SELECT $a$;$$;$a$",
		"SELECT $1 + $2; SELECT a$b$c;":       "1:SELECT $1 + $2|1:SELECT a$b$c",
		"SELECT /* ; /* ; */ ; */ 1; SELECT":  "1:SELECT /* ; /* ; */ ; */ 1|1:SELECT",
		"CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); SELECT 3": "1:CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)|1:SELECT 3",
		"create or replace function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3": "1:create or replace function f() returns int " +
			"begin atomic select 1; select case when true then 2 end; end|1:select 3",
		"BEGIN; SELECT CASE WHEN true THEN 1 END; END;": "1:BEGIN|1:SELECT CASE WHEN true THEN 1 END|1:END",
		"SELECT 'open; \n":                              "1:SELECT 'open; \n",
		"SELECT $x$ open; ":                             "1:SELECT $x$ open; ",
		"SELECT /* open; ":                              "1:SELECT /* open; ",
		`SELECT E'open\`:                                `1:SELECT E'open\`,
		`SELECT E'it''s \'; x'; SELECT`:                 `1:SELECT E'it''s \'; x'|1:SELECT`,
		"SELECT E'a' -- b\n '\\'; x'; SELECT":           "1:SELECT E'a' -- b\n '\\'; x'|2:SELECT",
		`SELECT E'a' '\'; SELECT`:                       `1:SELECT E'a' '\'|1:SELECT`,
		"CREATE TABLE t (begin atomic); COMMIT":         "1:CREATE TABLE t (begin atomic)|1:COMMIT",
		"CREATE VIEW v AS SELECT 1 begin atomic; END":   "1:CREATE VIEW v AS SELECT 1 begin atomic|1:END",
		"SELECT 1); COMMIT":                             "1:SELECT 1)|1:COMMIT",
		"CREATE FUNCTION f(begin atomic) RETURN 1; END": "1:CREATE FUNCTION f(begin atomic) RETURN 1|1:END",
		"CREATE PROCEDURE p() BEGIN ATOMIC; END; END":   "1:CREATE PROCEDURE p() BEGIN ATOMIC; END|1:END",
		"SELECT ü1$; SELECT;":                           "1:SELECT ü1$|1:SELECT",
	} {
		var got []string
		for _, s := range statements(script) {
			got = append(got, fmt.Sprintf("%d:%s", s.line, s.text))
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("%q: got\n%s\nwant\n%s", script, text, want)
		}
	}
}

func TestALineIsThatOfTheServersPosition(t *testing.T) {
	s := statement{"SELECT 'ü',\n 1,\n x", 10}
	for position, want := range map[int32]int{0: 10, 1: 10, 12: 10, 13: 11, 17: 12, 18: 12, 1000: 12} {
		if got := s.lineOf(position); got != want {
			t.Errorf("position %d is on line %d, want %d", position, got, want)
		}
	}
}

func TestTransactionControlIsRecognized(t *testing.T) {
	for text, want := range map[string]bool{
		"begin": true, "COMMIT": true, "end": true, "/* x */ Rollback": true, "start transaction": true, "PREPARE -- x\n TRANSACTION 'x'": true,
		"SAVEPOINT a": true, "RELEASE a": true, "ABORT": true,
		"PREPARE p AS SELECT 1": false, "SELECT 1": false, "beginning": false, "": false, "DO $$ BEGIN COMMIT; END $$": false,
	} {
		if got := (statement{text: text}).controlsTransaction(); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestACopyWithoutAFileIsRecognized(t *testing.T) {
	for text, want := range map[string]bool{
		"COPY t FROM stdin": true, "copy t (a, \"b\") from -- x\n STDIN WITH (FORMAT csv)": true, "COPY (SELECT 1) TO STDOUT": true,
		"COPY t FROM PROGRAM 'stdin'": false, "COPY t FROM 'STDIN'": false, "COPY t TO '/dev/null'": false,
		"SELECT a FROM stdin": false, "COPY (SELECT a FROM stdin) TO '/dev/null'": false, "": false, "COPY": false,
	} {
		if got := (statement{text: text}).copiesFromClient(); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestTheLinesOfAHugeScriptAreCountedOnce(t *testing.T) {
	const count = 400_000
	all := statements(strings.Repeat("SELECT 1;\n", count))
	if len(all) != count || all[count-1].line != count {
		t.Errorf("got %d statements, the last on line %d", len(all), all[len(all)-1].line)
	}
}

// FuzzStatements looks for scripts that it does not come to the end of.
func FuzzStatements(f *testing.F) {
	f.Add("CREATE FUNCTION f() BEGIN ATOMIC; CASE END; END; /* $a$ ' \" E'\\")
	f.Fuzz(func(t *testing.T, script string) {
		line := 0
		for _, s := range statements(script) {
			if s.text == "" || s.line < line || !strings.Contains(script, s.text) {
				t.Fatalf("%q: got %+v after line %d", script, s, line)
			}
			line = s.line
		}
	})
}
