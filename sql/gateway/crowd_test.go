package gateway

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// hasSessions waits until the host is told of so many.
func (b *bed) hasSessions(t testing.TB, n int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d sessions", n), func() bool { return b.process.sessions.Load() == n })
}

// What a smart shutdown waits for are those who were let in, to speak SQL.
func TestTheHostIsToldHowManyClientsHaveASession(t *testing.T) {
	b := shared(t)
	before := b.process.counted.Load()
	first := b.dial(t)
	first.login()
	b.hasSessions(t, 1)
	connected := b.dial(t) // and says nothing
	asked := b.dial(t)
	asked.startup("plain")
	until[*pgproto3.AuthenticationCleartextPassword](asked)
	walsender := b.dialUnix(t)
	walsender.startup("postgres", "replication", "true")
	until[*pgproto3.ReadyForQuery](walsender)
	wrong := b.dial(t)
	wrong.startup("plain", "database", "nonesuch")
	until[*pgproto3.AuthenticationCleartextPassword](wrong)
	wrong.send(&pgproto3.PasswordMessage{Password: "s3cret"})
	until[*pgproto3.ErrorResponse](wrong)
	b.hasSessions(t, 1)

	asked.send(&pgproto3.PasswordMessage{Password: "s3cret"})
	until[*pgproto3.ReadyForQuery](asked)
	b.hasSessions(t, 2)
	first.send(&pgproto3.Terminate{})
	first.over()
	b.hasSessions(t, 1)
	_ = connected.conn.Close()
	_ = asked.conn.Close()
	_ = walsender.conn.Close()
	b.hasSessions(t, 0)
	if n := b.process.counted.Load() - before; n != 2 {
		t.Errorf("%d sessions were counted, want 2", n)
	}
}

func TestACrowdThatHasLeftLeavesNoSession(t *testing.T) {
	b := shared(t)
	var visits sync.WaitGroup
	for i := range 8 {
		visits.Go(func() {
			for range 5 {
				conn, err := pgx.Connect(context.Background(), b.tcp("scrammer"))
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					_ = conn.Close(context.Background())
				} else {
					_ = conn.PgConn().Conn().Close() // without a word
				}
			}
		})
	}
	visits.Wait()
	b.hasSessions(t, 0)
}

// While a smart shutdown waits.
func TestAHostThatStopsRefusesNewClientsAndNobodyElse(t *testing.T) {
	b, d := shared(t), direct(t)
	old := open(t, b.tcp("scrammer"))
	b.process.refuses.Store(true)
	for _, conninfo := range []string{b.tcp("scrammer"), b.unix("trusted")} {
		e := refusal(t, conninfo)
		if e.Severity != "FATAL" || e.Code != string(elog.CannotConnectNow) || e.Message != "the database system is shutting down" {
			t.Errorf("got %v", e)
		}
	}
	failed := make(chan error, 1)
	go func() {
		_, err := old.Exec(context.Background(), "SELECT pg_sleep(1000) /* stopping */")
		failed <- err
	}()
	busy(t, d, "/* stopping */", 1)
	check(t, old.PgConn().CancelRequest(testContext(t)))
	select {
	case err := <-failed:
		expectState(t, err, elog.QueryCanceled)
	case <-testContext(t).Done():
		t.Fatal("not cancelled")
	}
	if got := one(t, old, "SELECT 'alive'"); got != "alive" {
		t.Errorf("got %q", got)
	}
	b.hasSessions(t, 1)
}
