//go:build linux

package integration

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The programs of PostgreSQL through a gateway. They are compared with themselves
// at the server's own socket.

// psqlSession is a script that takes back what it does.
const psqlSession = `
\set ON_ERROR_STOP 0
\pset null '(null)'
CREATE TABLE session (id int PRIMARY KEY, name text);
\copy session FROM pstdin
1	one
2	\N
\.
\copy session TO pstdout
COPY session TO STDOUT (FORMAT csv, HEADER);
COPY session FROM STDIN;
3	three
nonsense
\.
SELECT format('INSERT INTO session VALUES (%s, %L)', i, 'g' || i) FROM generate_series(10, 14) i \gexec
SELECT count(*) AS rows, max(id) AS top FROM session \gset
\echo :rows :top
\set FETCH_COUNT 3
SELECT * FROM session ORDER BY id;
SELECT 1/(12 - id) FROM session ORDER BY id;
\unset FETCH_COUNT
SELECT nosuch FROM session;
\errverbose
\d session
\dt
\df+ session*
SELECT $1 || $2 \bind a b \g
SELECT id, name FROM session WHERE id < 12 ORDER BY id \crosstabview id name name
SELECT 1 AS a \; SELECT 2 AS b \; SELECT nosuch;
\gdesc
SELECT id, name FROM session \gdesc
BEGIN;
\set ON_ERROR_ROLLBACK on
SELECT nosuch;
INSERT INTO session VALUES (20, 'kept');
COMMIT;
DO $$ BEGIN RAISE NOTICE 'noticed'; END $$;
\x
TABLE session;
\encoding latin1
SELECT 'x';
\encoding utf8
DROP TABLE session;
`

func TestAPsqlScriptPrintsWhatItPrintsWithoutTheGateway(t *testing.T) {
	newDatabase(t, "viapsql")
	server := privateServer(t)
	g := startGateway(t, server)
	run := func(p place) string {
		cmd := p.client(t, "psql", "viapsql", "-X")
		cmd.Stdin = strings.NewReader(psqlSession)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	want := run(direct(server))
	if !strings.Contains(want, "noticed") || !strings.Contains(want, "three") && !strings.Contains(want, "kept") {
		t.Fatalf("the script does not do what it is for:\n%s", want)
	}
	if got := run(g.place()); got != want {
		t.Errorf("through the gateway:\n%s\ndirectly:\n%s", got, want)
	}
}

func TestPgbenchRunsInAllItsModes(t *testing.T) {
	newDatabase(t, "viapgbench")
	g := startGateway(t, privateServer(t))
	output(t, g.place().client(t, "pgbench", "viapgbench", "-i", "-q", "-s", "1", "-I", "dtgGvpf"))
	pipeline := filepath.Join(shortTempDir(t), "pipeline.sql")
	if err := os.WriteFile(pipeline, []byte(pipelineScript), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"simple": {"-M", "simple"}, "extended": {"-M", "extended"}, "prepared": {"-M", "prepared"}, "select": {"-S", "-M", "prepared"},
		"connecting each time": {"-S", "-C"}, "pipeline": {"-f", pipeline, "-M", "extended"}, "pipeline, prepared": {"-f", pipeline, "-M", "prepared"},
	} {
		t.Run(name, func(t *testing.T) {
			out := output(t, g.place().client(t, "pgbench", "viapgbench", append(args, "-n", "-c", "4", "-j", "2", "-t", "50")...))
			if !strings.Contains(out, "number of transactions actually processed: 200/200") || !strings.Contains(out, "number of failed transactions: 0") {
				t.Error(out)
			}
		})
	}
	if wrong := query[int](t, g.server.ConnInfo()+" dbname=viapgbench", `SELECT count(*)::int FROM (SELECT sum(abalance) FROM pgbench_accounts EXCEPT SELECT sum(delta) FROM pgbench_history) d`); wrong != 0 {
		t.Error("the balances are not the sum of what was booked")
	}
}

const pipelineScript = `\set aid random(1, 100000)
\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET filler = 'x' WHERE tid = 1 + :client_id;
SELECT generate_series(1, 300);
\endpipeline
`

// A database with some of everything that pg_dump asks about.
const dumped = `
CREATE SCHEMA other;
CREATE TYPE other.mood AS ENUM ('sad', 'ok');
CREATE DOMAIN other.positive AS int CHECK (VALUE > 0);
CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, mood other.mood DEFAULT 'ok');
CREATE TABLE part (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE part_2026 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX ON part (id) WHERE id > 3;
CREATE TABLE blob (id int PRIMARY KEY, body bytea, parent bigint REFERENCES parent);
INSERT INTO parent (name) SELECT 'name é ' || i || E'\t\\n\n' FROM generate_series(1, 20000) i;
INSERT INTO part SELECT i, '2026-01-01'::date + i % 365 FROM generate_series(1, 5000) i;
INSERT INTO blob SELECT i, decode(repeat(md5(i::text), 9000), 'hex'), i FROM generate_series(1, 60) i;
CREATE VIEW other.v AS SELECT id, name FROM parent WHERE mood = 'ok';
CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM parent;
CREATE FUNCTION other.f(a int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN a + 1; END $$;
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER tr BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION t();
COMMENT ON TABLE parent IS 'it''s a parent';
SELECT lo_from_bytea(70000 + i, decode(repeat(md5(i::text), 20000), 'hex')) FROM generate_series(1, 5) i;
`

func TestDumpsAndTheirRestorationAreWhatTheyAreWithoutTheGateway(t *testing.T) {
	skipIfShort(t)
	newDatabase(t, "dumped")
	server := privateServer(t)
	g := startGateway(t, server)
	dir := shortTempDir(t)
	execSQL(t, direct(server).conninfo("dumped"), dumped)
	want := plainDump(t, direct(server), "dumped")
	if got := plainDump(t, g.place(), "dumped"); got != want {
		t.Fatalf("a dump through the gateway is another: %s", firstDifference(got, want))
	}
	for name, how := range map[string]struct{ dump, restore []string }{
		"custom":    {[]string{"-Fc"}, nil},
		"directory": {[]string{"-Fd", "-j2"}, []string{"-j2"}},
		"inserts":   {[]string{"-Fc", "--inserts", "--rows-per-insert=500"}, []string{"-j2"}},
	} {
		t.Run(name, func(t *testing.T) {
			newDatabase(t, "restored")
			file := filepath.Join(dir, name)
			output(t, g.place().client(t, "pg_dump", "dumped", append(how.dump, "-f", file)...))
			output(t, g.place().client(t, "pg_restore", "dumped", append(how.restore, "-e", "-d", "restored", file)...))
			if got := plainDump(t, direct(server), "restored"); got != want {
				t.Errorf("what was restored is another: %s", firstDifference(got, want))
			}
		})
	}
}

// plainDump leaves out the key of \restrict, which is another each time.
func plainDump(t *testing.T, p place, database string) string {
	t.Helper()
	var kept []string
	for line := range strings.Lines(output(t, p.client(t, "pg_dump", database, "-Fp"))) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is %.300q, not %.300q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("it has %d lines, not %d", len(g), len(w))
}

// copied is how much goes each way: a lot more than any buffer holds.
func copied() int {
	if raceDetector || testing.Short() {
		return 30 << 20
	}
	return 200 << 20
}

func TestALargeCopyArrivesWholeBothWays(t *testing.T) {
	newDatabase(t, "copied")
	g := startGateway(t, privateServer(t))
	file := filepath.Join(shortTempDir(t), "data")
	const width = 2000
	rows := fmt.Sprintf("SELECT i, rpad(md5(i::text), %d, md5((-i)::text)) FROM generate_series(1, %d) i", width, copied()/width)
	for _, format := range []string{"text", "binary"} {
		t.Run(format, func(t *testing.T) {
			output(t, g.place().client(t, "psql", "copied", "-Xqc", `\copy (`+rows+`) TO '`+file+"' (FORMAT "+format+")"))
			sum := fileSum(t, file)
			if size := fileSize(t, file); size < int64(copied()) {
				t.Fatalf("only %d bytes came", size)
			}
			output(t, direct(g.server).client(t, "psql", "copied", "-Xqc", "DROP TABLE IF EXISTS copied; CREATE UNLOGGED TABLE copied (i int, t text)"))
			output(t, g.place().client(t, "psql", "copied", "-Xqc", `\copy copied FROM '`+file+"' (FORMAT "+format+")"))
			output(t, direct(g.server).client(t, "psql", "copied", "-Xqc", `\copy copied TO '`+file+"' (FORMAT "+format+")"))
			if fileSum(t, file) != sum {
				t.Error("what went in is not what came out")
			}
		})
	}
}

func fileSum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

func TestLargeObjectsGoInAndOut(t *testing.T) {
	newDatabase(t, "objects")
	g := startGateway(t, privateServer(t))
	dir := shortTempDir(t)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	content := make([]byte, 9<<20)
	for i := range content {
		content[i] = byte(i * i >> 5)
	}
	if err := os.WriteFile(in, content, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := g.place().client(t, "psql", "objects", "-XAt", "-v", "ON_ERROR_STOP=1")
	cmd.Stdin = strings.NewReader(`\lo_import '` + in + "' 'a comment'\n" + `\lo_list` + "\n" + `\lo_export :LASTOID '` + out + "'\n" + `\lo_unlink :LASTOID` + "\nSELECT count(*) FROM pg_largeobject;\n")
	if said := output(t, cmd); !strings.Contains(said, "a comment") || !strings.HasSuffix(said, "\n0\n") {
		t.Errorf("psql printed:\n%s", said)
	}
	if fileSum(t, in) != fileSum(t, out) {
		t.Error("what went in is not what came out")
	}
}
