package call_test

import (
	"bytes"
	"context"
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

func pids(from, to int) string {
	var all []string
	for i := from; i <= to; i++ {
		all = append(all, itoa(firstPid+i))
	}
	return strings.Join(all, ",")
}

const series = "SELECT string_agg(pgexthost.launch_now('lib', 'main', main_arg => i)::text, ',' ORDER BY i) FROM generate_series(1, 50) i"

func TestCallsWorkInEveryTransaction(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	for _, begin := range []string{
		"BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN READ ONLY",
		"BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
	} {
		c.exec(begin + "; SELECT 1 FROM pg_class LIMIT 1; SAVEPOINT a")
		if got := query[string](c, series); got != pids(1, 50) {
			t.Errorf("%s: got %s", begin, got)
		}
		c.refuses("SELECT 1/0", "22012")
		c.exec("ROLLBACK TO a")
		if got := query[int](c, launch+"3)"); got != firstPid+3 {
			t.Errorf("%s: got %d after an error", begin, got)
		}
		c.exec("COMMIT")
	}
}

func TestCallsWorkOnAStandby(t *testing.T) {
	b := newBed(t)
	primary := server.Running(t)
	program := primary.Binaries().Program("pg_basebackup")
	if program == "" {
		t.Skip("this installation has no pg_basebackup")
	}
	standby, err := localpg.Start(within(t), localpg.Options{Settings: []string{"hot_standby=on"}, Populate: func(ctx context.Context, dir string) error {
		out, err := osexec.CommandContext(ctx, program, "-D", dir, "-R", "-X", "stream", "-c", "fast", "-d", primary.ConnInfo()).CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	}})
	check(t, err)
	t.Cleanup(func() { _ = standby.Stop(context.Background()) })
	onStandby := &bed{TB: t, database: b.database, conninfo: standby.ConnInfo(), host: b.host}
	onStandby.serve("owner")
	c := onStandby.connect("alice")
	if !query[bool](c, "SELECT pg_is_in_recovery()") {
		t.Fatal("it is no standby")
	}
	if got := query[string](c, series); got != pids(1, 50) {
		t.Errorf("got %s", got)
	}
	if n := query[int](c, "SELECT count(*) FROM pgexthost.pg_stat_activity WHERE pid = pg_backend_pid()"); n != 1 {
		t.Errorf("%d rows", n)
	}
	c.leave()
}

func TestCallsWorkWithinPlpgsqlAndCursors(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	c.exec(`CREATE TEMP TABLE got (pid int);
		DO $$
		BEGIN
			FOR i IN 1..10 LOOP
				BEGIN
					INSERT INTO got SELECT pgexthost.launch_now('lib', 'main', main_arg => i);
					IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
				EXCEPTION WHEN raise_exception THEN
					INSERT INTO got SELECT -pgexthost.launch_now('lib', 'main', main_arg => i);
				END;
			END LOOP;
		END $$`)
	if got := query[int](c, "SELECT sum(abs(pid))::int FROM got"); got != 10*firstPid+55 {
		t.Errorf("sum %d", got)
	}
	if got := query[int](c, "SELECT count(*) FROM got WHERE pid < 0"); got != 3 {
		t.Errorf("%d from exception blocks", got)
	}
	c.exec("BEGIN; DECLARE c CURSOR FOR SELECT pgexthost.launch_now('lib', 'main', main_arg => i) FROM generate_series(1, 9) i")
	for i := 1; i <= 9; i++ {
		if got := query[int](c, "FETCH 1 FROM c", pgx.QueryExecModeSimpleProtocol); got != firstPid+i {
			t.Errorf("got %d", got)
		}
	}
	c.exec("COMMIT")
}

func TestCallsWorkWithinCopyAndPreparedStatements(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	var out bytes.Buffer
	_, err := c.PgConn().CopyTo(within(t), &out, "COPY (SELECT pgexthost.launch_now('lib', 'main', main_arg => i) FROM generate_series(1, 50) i) TO STDOUT")
	c.over()
	check(t, err)
	if got := strings.ReplaceAll(strings.TrimSpace(out.String()), "\n", ","); got != pids(1, 50) {
		t.Errorf("got %s", got)
	}
	c.exec("PREPARE p(bigint) AS SELECT pgexthost.launch_now('lib', 'main', main_arg => $1)")
	for i := 1; i <= 10; i++ {
		if got := query[int](c, "EXECUTE p("+itoa(i)+")", pgx.QueryExecModeSimpleProtocol); got != firstPid+i {
			t.Errorf("got %d", got)
		}
	}
}

func TestCallsWorkInPipelines(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	var batch pgx.Batch
	for i := 1; i <= 40; i++ {
		batch.Queue("SELECT pgexthost.launch_now('lib', 'main', main_arg => $1)", i)
	}
	results := c.SendBatch(within(t), &batch)
	for i := 1; i <= 40; i++ {
		var pid int
		check(t, results.QueryRow().Scan(&pid))
		if pid != firstPid+i {
			t.Errorf("got %d", pid)
		}
	}
	check(t, results.Close())
	c.over()
}

func TestCallsWorkInOtherEncodings(t *testing.T) {
	b := newBed(t)
	admin := b.plain("postgres", "postgres")
	name := b.database + "latin"
	admin.exec("CREATE DATABASE " + name + " OWNER owner ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
	t.Cleanup(func() { admin.exec("DROP DATABASE " + name + " WITH (FORCE)") })
	latin := &bed{TB: t, database: name, conninfo: b.conninfo, host: b.host}
	latin.install("pgexthost")
	latin.serve("owner")
	c := latin.connect("alice")
	c.exec("SET client_encoding = 'LATIN1'")
	c.exec("SELECT pgexthost.launch_now('lib', 'm\xe4in')")
	if got := b.host.registered[0].FunctionName; got != "mäin" {
		t.Errorf("got %q", got)
	}
	w := latin.run("bob", "one")
	b.host.change(func(i *workerInfo) { i.Entry.Type = "über 漢字" })
	if got := query[string](latin.connect("postgres"), "SELECT backend_type FROM pgexthost.pg_stat_activity WHERE pid = $1", w.pid()); got != "?ber ??" {
		t.Errorf("got %q", got)
	}
}

// A body is compiled with the settings of whoever calls it first in a session.
func TestCallsWorkWhateverBackslashesMean(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	c.exec("SET standard_conforming_strings = off")
	if got := query[int](c, "SELECT public.worker_spi_launch(3)", pgx.QueryExecModeExec); got != firstPid+3 {
		t.Errorf("got %d", got)
	}
	if extra := b.host.registered[0].Extra; extra != [128]byte{} {
		t.Errorf("extra data %x", extra)
	}
	c.refuses(`SELECT pgexthost.launch_now('lib', 'main', E'a\nb')`, "22023")
	c.refuses(`SELECT pgexthost.launch('lib', 'main', E'a\nb')`, "22023")
	query[int](c, `SELECT pgexthost.launch('lib', 'main', E'x1f\\')`, pgx.QueryExecModeExec)
	if c.notices != nil {
		t.Errorf("got %q", c.notices)
	}
}
