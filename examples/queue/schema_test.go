package queue

import (
	"context"
	"io/fs"
	"sync"
	"testing"

	"github.com/pgexthost/pgexthost/connect"
)

// session opens a session with the bench's database, as some role.
func (b *bench) session(role string) *connect.Conn {
	b.t.Helper()
	config, err := connect.ParseConninfo(b.db.Conninfo())
	if err == nil {
		config, err = config.ForDatabase(b.name)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	conn, err := connect.Open(b.t.Context(), config, "queue test")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if role != "" {
		if _, err := conn.Exec(b.t.Context(), "SET ROLE "+role); err != nil {
			b.t.Fatal(err)
		}
	}
	return conn
}

func TestManyWorkersMakeTheSchemaOnce(t *testing.T) {
	t.Parallel()
	b := newBenchWithoutHost(t)
	var all sync.WaitGroup
	for range 8 {
		conn := b.session("")
		all.Go(func() {
			if err := upgradeSchema(t.Context(), conn); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	b.expect("1", "SELECT count(*) FROM queue.schema_version")
}

func TestThereIsAScriptForEachVersion(t *testing.T) {
	t.Parallel()
	found, err := fs.Glob(scripts, "schema/*.sql")
	if err != nil || len(found) != schemaVersion {
		t.Errorf("%d versions, %v, %v", schemaVersion, found, err)
	}
}

func TestAStrangersSchemaIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	b := newBenchWithoutHost(t)
	b.exec("CREATE SCHEMA queue")
	b.exec("CREATE TABLE queue.job (theirs int)")
	err := upgradeSchema(t.Context(), b.session(""))
	if connect.SQLState(err) != "42P07" {
		t.Errorf("got %v", err)
	}
	b.expect("job", "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'queue'::regnamespace")
}

func TestARoleThatMayNotMakeTheSchemaUsesTheOneItIsGiven(t *testing.T) {
	t.Parallel()
	b := newBenchWithoutHost(t)
	role := b.name + "_consumer"
	b.exec("CREATE ROLE " + role)
	conn := b.session(role)
	if err := upgradeSchema(t.Context(), conn); connect.SQLState(err) != "42501" {
		t.Errorf("without a schema: %v", err)
	}
	b.exec("CREATE SCHEMA queue AUTHORIZATION " + role)
	if err := upgradeSchema(t.Context(), conn); err != nil {
		t.Error(err)
	}
}

func TestANewerSchemaIsWorkedWith(t *testing.T) {
	t.Parallel()
	b := newBenchWithoutHost(t)
	conn := b.session("")
	if err := upgradeSchema(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	b.exec("INSERT INTO queue.schema_version VALUES (1000)")
	if err := upgradeSchema(t.Context(), conn); err != nil {
		t.Error(err)
	}
	b.exec("DELETE FROM queue.schema_version")
	if err := upgradeSchema(t.Context(), conn); connect.SQLState(err) != "55000" {
		t.Errorf("without a version: %v", err)
	}
}

func TestOnlyWhoIsGrantedItEnqueues(t *testing.T) {
	t.Parallel()
	b := newBenchWithoutHost(t)
	if err := upgradeSchema(t.Context(), b.session("")); err != nil {
		t.Fatal(err)
	}
	producer, anybody := b.name+"_producer", b.name+"_anybody"
	b.exec("CREATE ROLE " + producer)
	b.exec("CREATE ROLE " + anybody)
	b.exec("GRANT USAGE ON SCHEMA queue TO " + producer + ", " + anybody)
	b.exec("GRANT EXECUTE ON FUNCTION queue.enqueue TO " + producer)
	ctx := t.Context()
	for _, sql := range []string{"SELECT queue.enqueue('x')", "SELECT queue.retry(1)", "SELECT * FROM queue.job", "SELECT * FROM queue.status"} {
		if _, err := b.session(anybody).Exec(ctx, sql); connect.SQLState(err) != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := b.session(producer).Exec(ctx, "SELECT queue.enqueue('x')"); err != nil {
		t.Error(err)
	}
	b.expect("1", "SELECT count(*) FROM queue.job")
}

func TestTheStatusCountsEachJobOnce(t *testing.T) {
	t.Parallel()
	b := newBenchWithoutHost(t)
	if err := upgradeSchema(t.Context(), b.session("")); err != nil {
		t.Fatal(err)
	}
	b.exec(`INSERT INTO queue.job (kind, run_at, attempts, claimed_by, claimed_at) VALUES
		('x', now() - interval '1 min', 0, NULL, NULL), ('x', now() - interval '2 min', 3, NULL, NULL),
		('x', now() + interval '1 min', 0, NULL, NULL),
		('x', now() + interval '1 min', 1, NULL, NULL),
		('x', now() + interval '1 min', 1, 'a', now() - interval '3 s'), ('x', now() - interval '1 h', 2, 'a', now() - interval '2 s'),
		('y', now(), 0, NULL, NULL)`)
	b.exec("INSERT INTO queue.dead (id, kind, payload, attempts, max_attempts, enqueued_at, last_error) VALUES (100, 'x', '{}', 1, 1, now(), 'e')")
	b.expect("2 1 1 2 1 true true", `SELECT format('%s %s %s %s %s', due, scheduled, retrying, claimed, dead)
		|| CASE WHEN waiting_for BETWEEN interval '2 min' AND interval '50 min' THEN ' true' END
		|| CASE WHEN claimed_for BETWEEN interval '3 s' AND interval '50 min' THEN ' true' END
		FROM queue.status WHERE kind = 'x'`)
	b.expect("8", "SELECT sum(due + scheduled + retrying + claimed + dead)::int FROM queue.status")
}
