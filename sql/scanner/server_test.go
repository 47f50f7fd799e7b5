package scanner

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/internal/testkit"
)

// server is a real one, which the processes that fuzz do not start.
var server testkit.Server

var within = testkit.Context

func TestMain(m *testing.M) {
	defer server.Stop()
	m.Run()
}

// session opens a session with the server, which ends with the test.
func session(t *testing.T) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(within(t), server.Conninfo(t, "postgres", "postgres"))
	testkit.Check(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgconn.PgConn, sql string) {
	t.Helper()
	if _, err := conn.Exec(within(t), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// grammar is the server's parser and nothing else: in a transaction that has failed,
// it parses a statement and then refuses to look at it.
type grammar struct{ conn *pgconn.PgConn }

func newGrammar(t *testing.T, settings string) grammar {
	t.Helper()
	conn := session(t)
	exec(t, conn, settings) // for themselves: the transaction takes back what is set in it
	exec(t, conn, "BEGIN")
	if _, err := conn.Exec(within(t), "SELECT 1/0").ReadAll(); err == nil {
		t.Fatal("the transaction has not failed")
	}
	return grammar{conn}
}

// verdict is what the server says of a text.
type verdict int

const (
	refused verdict = iota
	one             // statement, or none at all
	several
)

func (g grammar) parse(t *testing.T, sql string) (verdict, error) {
	t.Helper()
	_, err := g.conn.Prepare(within(t), "", sql, nil)
	var failure *pgconn.PgError
	switch {
	case err == nil:
		return one, nil
	case !errors.As(err, &failure):
		t.Fatalf("%q: %v", sql, err)
	case failure.Code == "25P02": // in_failed_sql_transaction
		return one, nil
	case failure.Message == "cannot insert multiple commands into a prepared statement":
		return several, nil
	}
	return refused, err
}

//go:embed testdata/statements.sql
var corpus string

// statements are those of the corpus.
func statements(t *testing.T) []string {
	t.Helper()
	_, list, _ := strings.Cut(corpus, "at random.\n")
	all := strings.Split(strings.TrimSuffix(list, "\n"), "\n%%\n")
	if len(all) < 30 {
		t.Fatalf("only %d statements", len(all))
	}
	return all
}

// gaps are what can be between statements.
var gaps = []string{";", " ; ", ";;", "\n;\n-- a; comment\n", ";/* ; /* ' */ $$ */", "; --\r\n", "-- x\n;\t"}

func TestTheServerSplitsWhereScanDoes(t *testing.T) {
	g := newGrammar(t, "")
	all := statements(t)
	for _, s := range all {
		if _, err := g.parse(t, s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var text strings.Builder
		var pieces []string
		for range 2 + random.IntN(5) {
			pieces = append(pieces, all[random.IntN(len(all))])
			text.WriteString(pieces[len(pieces)-1] + gaps[random.IntN(len(gaps))])
		}
		sql := text.String()
		if v, err := g.parse(t, sql); v != several {
			t.Fatalf("%s: %v, %v", sql, v, err)
		}
		var got []string
		for _, s := range Scan(sql, usual) {
			got = append(got, sql[s.Start:s.End])
		}
		for i := range pieces {
			pieces[i] = trimmed(pieces[i])
		}
		if fmt.Sprint(got) != fmt.Sprint(pieces) {
			t.Fatalf("%s:\ngot  %q\nwant %q", sql, got, pieces)
		}
	}
}

// trimmed is a statement of the corpus without the comment that one of them ends with.
func trimmed(s string) string {
	return strings.TrimSuffix(s, " /**//***/ /* /*;*/ ; */")
}

// TestScanAgreesWithTheServerOnDamagedTexts cuts texts into pieces and puts these
// together elsewhere: whatever the server still takes, Scan splits as it does.
func TestScanAgreesWithTheServerOnDamagedTexts(t *testing.T) {
	for settings, o := range map[string]Options{
		"SET standard_conforming_strings TO on":                                    usual,
		"SET standard_conforming_strings TO off; SET escape_string_warning TO off": {ClientEncoding: "UTF8"},
	} {
		g := newGrammar(t, settings)
		random := rand.New(rand.NewPCG(3, 4))
		taken := 0
		for range 6000 {
			sql := damaged(random, statements(t))
			switch v, _ := g.parse(t, sql); v {
			case refused:
				continue
			case one:
				taken++
				if n := len(Scan(sql, o)); n > 1 {
					t.Fatalf("%s: %q is one statement to the server: %q", settings, sql, split(sql, o))
				}
			case several:
				taken++
				all := Scan(sql, o)
				for _, s := range all {
					if v, err := g.parse(t, sql[s.Start:s.End]); v != one || len(all) < 2 {
						t.Fatalf("%s: %q: not a statement to the server: %q, %v", settings, sql, split(sql, o), err)
					}
				}
			}
			for _, s := range Scan(sql, o) {
				if s.Unterminated {
					t.Fatalf("%s: %q is whole to the server: %q", settings, sql, split(sql, o))
				}
			}
		}
		t.Logf("%s: the server took %d of the texts", settings, taken)
		if taken < 100 {
			t.Errorf("%s: the server took only %d of the texts", settings, taken)
		}
	}
}

// signsOfInterest are what decides about the ends of statements.
var signsOfInterest = []string{"'", "\"", "$$", "$a$", "/*", "*/", "--", "\n", ";", "(", ")", "\\", "E'", "U&'", "'\n'", " end ", "begin atomic ", "\v"}

// damaged puts two statements together and changes one to three places.
func damaged(random *rand.Rand, all []string) string {
	sql := all[random.IntN(len(all))] + gaps[random.IntN(len(gaps))] + all[random.IntN(len(all))]
	for range 1 + random.IntN(3) {
		at := random.IntN(len(sql) + 1)
		switch random.IntN(3) {
		case 0:
			sql = sql[:at] + signsOfInterest[random.IntN(len(signsOfInterest))] + sql[at:]
		case 1:
			sql = sql[:at] + sql[min(len(sql), at+1+random.IntN(3)):]
		case 2:
			from := random.IntN(len(sql) + 1)
			sql = sql[:at] + sql[from:min(len(sql), from+random.IntN(12))] + sql[at:]
		}
	}
	return strings.ToValidUTF8(sql, "")
}

// serversOwn are those of the commands without one that the server takes, as
// something else.
var serversOwn = strings.Join([]string{
	"SHOW work_mem", "SHOW ALL", "SHOW TIME ZONE", "SET a.b FROM CURRENT", "SET work_mem TO 1", "SET TIME ZONE 1", "SET ROLE a",
	"SET SESSION AUTHORIZATION a", "SET TRANSACTION READ ONLY", "SET CONSTRAINTS a.b DEFERRED", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
	"RESET work_mem", "RESET TIME ZONE", "RESET SESSION AUTHORIZATION", "ALTER EXTENSION x SET SCHEMA y", "ALTER EXTENSION x ADD TABLE y",
}, "|") + "|"

func TestACommandIsWhatTheServersGrammarTakes(t *testing.T) {
	g := newGrammar(t, "")
	for _, c := range commands {
		v, err := g.parse(t, c.sql)
		own := strings.Contains(serversOwn, c.sql+"|")
		if taken := v == one; taken != (c.want != nil || own) {
			t.Errorf("%s: got %#v, the server says %v", c.sql, c.want, err)
		}
	}
}

func TestAValueIsTheTextThatTheServerMakesOfIt(t *testing.T) {
	conn := session(t)
	tried := 0
	for _, c := range commands {
		set, ok := c.want.(Set)
		if !ok || len(set.Values) != 1 {
			continue
		}
		exec(t, conn, "BEGIN; "+c.sql)
		result := conn.ExecParams(within(t), "SELECT current_setting($1)", [][]byte{[]byte(set.Name)}, nil, nil, nil).Read()
		if result.Err != nil || string(result.Rows[0][0]) != set.Values[0] {
			t.Errorf("%s: got %q, %v, want %q", c.sql, result.Rows, result.Err, set.Values[0])
		}
		exec(t, conn, "ROLLBACK")
		tried++
	}
	if tried < 20 {
		t.Errorf("only %d values", tried)
	}
}

func TestANameIsTheOneThatTheServerLooksFor(t *testing.T) {
	conn := session(t)
	for _, c := range commands {
		create, ok := c.want.(CreateExtension)
		if !ok || strings.ContainsAny(create.Name, "!\"") {
			continue
		}
		_, err := conn.Exec(within(t), c.sql).ReadAll()
		want, before15 := fmt.Sprintf("extension %q is not available", create.Name), "/"+create.Name+`.control": No such file`
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), before15) {
			t.Errorf("%s: got %v, want %s", c.sql, err, want)
		}
	}
}
