package workerspi

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

func TestMain(m *testing.M) { os.Exit(pluginstest.Main(m)) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func session(t *testing.T) *connect.Conn {
	t.Helper()
	config, err := connect.ParseConninfo(pluginstest.Server(t).Conninfo())
	check(t, err)
	conn, err := connect.Open(context.Background(), config, t.Name())
	check(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// newTable creates the table of a worker of its own.
func newTable(t *testing.T, index int64) (table, *connect.Conn) {
	t.Helper()
	tab, conn := tableOf(index), session(t)
	t.Cleanup(func() {
		_, err := conn.Exec(context.Background(), "DROP SCHEMA "+tab.schema+" CASCADE")
		check(t, err)
	})
	check(t, tab.create(context.Background(), conn))
	return tab, conn
}

func (t table) insert(tb testing.TB, conn *connect.Conn, rows string) {
	tb.Helper()
	_, err := conn.Exec(context.Background(), "INSERT INTO "+t.schema+"."+t.name+" VALUES "+rows)
	check(tb, err)
}

func (t table) rows(tb testing.TB, conn *connect.Conn) (n int) {
	tb.Helper()
	check(tb, conn.QueryRow(context.Background(), "SELECT count(*) FROM "+t.schema+"."+t.name).Scan(&n))
	return n
}

func TestSQLIsThatOfWorkerSPI(t *testing.T) {
	tab := tableOf(7)
	const create = `CREATE SCHEMA "schema7"
CREATE TABLE "counted" (
	type text CHECK (type IN ('total', 'delta')),
	value integer)
CREATE UNIQUE INDEX "counted_unique_total" ON "counted" (type) WHERE type = 'total'`
	if got := tab.createSQL(); got != create {
		t.Errorf("got %s", got)
	}
	const count = `WITH deleted AS (
	DELETE FROM "schema7"."counted" WHERE type = 'delta' RETURNING value
), total AS (
	SELECT coalesce(sum(value), 0) AS sum FROM deleted
)
UPDATE "schema7"."counted" SET value = "counted".value + total.sum
FROM total WHERE type = 'total'
RETURNING "counted".value`
	if got := tab.countSQL(); got != count {
		t.Errorf("got %s", got)
	}
}

func TestDeltasAreAddedToTheTotal(t *testing.T) {
	tab, conn := newTable(t, 1)
	tab.insert(t, conn, "('total', 10), ('delta', 1), ('delta', 2), ('delta', -5)")
	for range 2 { // the second time there is nothing to add
		total, err := tab.count(context.Background(), conn)
		check(t, err)
		if total == nil || *total != 8 {
			t.Errorf("got %v", total)
		}
	}
	if n := tab.rows(t, conn); n != 1 {
		t.Errorf("got %d rows", n)
	}
}

func TestWithoutATotalDeltasAreLost(t *testing.T) {
	tab, conn := newTable(t, 2)
	tab.insert(t, conn, "('delta', 1), ('delta', 2)")
	total, err := tab.count(context.Background(), conn)
	check(t, err)
	if n := tab.rows(t, conn); total != nil || n != 0 {
		t.Errorf("got total %v, %d rows", total, n)
	}
}

func TestNullTotalStaysNull(t *testing.T) {
	tab, conn := newTable(t, 3)
	tab.insert(t, conn, "('total', NULL), ('delta', 1)")
	total, err := tab.count(context.Background(), conn)
	check(t, err)
	if total != nil {
		t.Errorf("got %v", *total)
	}
}

func TestTableAcceptsWhatItShouldOnly(t *testing.T) {
	tab, conn := newTable(t, 4)
	tab.insert(t, conn, "('total', 1)")
	for _, row := range []string{"('total', 2)", "('other', 1)"} {
		if _, err := conn.Exec(context.Background(), "INSERT INTO schema4.counted VALUES "+row); connect.SQLState(err).Class() != "23" {
			t.Errorf("%s: got %v", row, err)
		}
	}
}

func TestExistingSchemaIsLeftAlone(t *testing.T) {
	tab, conn := newTable(t, 5)
	tab.insert(t, conn, "('total', 1)")
	check(t, tab.create(context.Background(), conn))
	if n := tab.rows(t, conn); n != 1 {
		t.Errorf("got %d rows", n)
	}
}

func TestWorkersOfOneIndexCanStartAtOnce(t *testing.T) {
	const workers = 8
	tab, conn := tableOf(6), session(t)
	sessions := make([]*connect.Conn, workers)
	for i := range sessions {
		sessions[i] = session(t)
		_, err := sessions[i].Exec(context.Background(), "SET default_transaction_isolation = 'repeatable read'")
		check(t, err)
	}
	for range 10 {
		var all sync.WaitGroup
		for _, s := range sessions {
			all.Go(func() {
				if err := tab.create(context.Background(), s); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		_, err := conn.Exec(context.Background(), "DROP SCHEMA schema6 CASCADE")
		check(t, err)
	}
}
