package call_test

import (
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

const (
	stateLocks   = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
	payloadLocks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
	ownLocks     = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
)

// What a call waits with belongs to the wait, not to the transaction that goes on.
func TestCallsLeaveNoLocksInTheirTransaction(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	c.exec("BEGIN")
	for i := range 10 {
		query[int](c, launch+itoa(i)+")")
		if n := query[int](c, ownLocks); n != 0 {
			t.Fatalf("%d locks are held after call %d", n, i)
		}
	}
	c.exec("COMMIT")
}

// The client stays; what an answer has cost the server is given back.
func TestTheLocksOfAnAnswerGoWithItsStatement(t *testing.T) {
	b := newBed(t)
	c, other := b.connect("alice"), b.plain(b.database, "postgres")
	for i := range 3 {
		query[int](c, launch+itoa(i)+")")
		eventually(b, "the answer's locks to go", func() bool { return query[int](other, payloadLocks) == 0 })
		if n := query[int](other, stateLocks); n != 1 {
			t.Errorf("%d state locks are held for a session", n)
		}
	}
	c.leave()
	another := b.connect("alice") // whose calls keep the locks' own session from ending
	eventually(b, "the state lock to go", func() bool {
		query[int](another, launch+"1)")
		return query[int](other, stateLocks) == 1
	})
}

// isForgotten waits until nobody looks for a worker any more. A call looks every
// 50 ms.
func (b *bed) isForgotten() {
	b.Helper()
	last, since := b.host.lookedAt(), time.Now()
	eventually(b, "the end of the call", func() bool {
		if n := b.host.lookedAt(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// Nobody goes on with what nobody waits for.
func TestTheEndOfAStatementCancelsItsCall(t *testing.T) {
	b := newBed(t)
	b.host.set(0)
	c := b.connect("alice")
	c.exec("SET statement_timeout = '50ms'")
	c.refuses(launch+"1)", "57014")
	b.isForgotten()
}

// A function may catch what ends a call, and the statement goes on.
func TestTheNextCallCancelsTheOneBefore(t *testing.T) {
	b := newBed(t)
	b.host.set(0)
	c := b.connect("alice")
	ended := make(chan error, 1)
	go func() {
		// The server sends its process the signal twice, which may see both.
		ended <- c.try(`DO $$ BEGIN
			BEGIN
				BEGIN
					PERFORM pgexthost.launch_now('lib', 'main');
				EXCEPTION WHEN query_canceled THEN NULL;
				END;
				PERFORM pg_sleep(0.2);
			EXCEPTION WHEN query_canceled THEN NULL;
			END;
			PERFORM pgexthost.sessions();
			PERFORM pg_sleep(1000);
		END $$`)
	}()
	eventually(b, "the call", func() bool { return b.host.lookedAt() > 0 })
	check(t, c.PgConn().CancelRequest(within(t)))
	b.isForgotten()
	select {
	case err := <-ended:
		t.Fatalf("the statement is over: %v", err)
	default:
	}
	check(t, c.PgConn().CancelRequest(within(t)))
	if err := <-ended; connect.SQLState(err) != elog.QueryCanceled {
		t.Errorf("got %v", err)
	}
}

// A reply that comes when its call is over is not that of the next one.
func TestAStaleReplyIsForNobody(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	stuck := make(chan struct{})
	b.host.stuck = stuck
	c.exec("SET statement_timeout = '50ms'")
	c.refuses("SELECT FROM pgexthost.sessions()", "57014")
	c.exec("SET statement_timeout = 0")
	b.host.set(0)
	var pid int
	done := make(chan error, 1)
	go func() { done <- c.QueryRow(within(t), launch+"1)").Scan(&pid) }()
	eventually(b, "the next call", func() bool { return b.host.count() == 1 })
	close(stuck)
	// Another session's call, which is behind the reply in the control's mail.
	query[int](b.connect("alice"), "SELECT count(*) FROM pgexthost.sessions()")
	b.host.set(77)
	if err := <-done; err != nil || pid != 77 {
		t.Errorf("pid %d, %v", pid, err)
	}
}

// The server has DROP DATABASE wait five seconds for other sessions.
func TestADatabaseCanBeDroppedOnceItsCallersHaveLeft(t *testing.T) {
	b := newBed(t)
	admin := b.plain("postgres", "postgres")
	const ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgexthost gateway' AND datname = $1"
	first, second := b.connect("alice"), b.connect("alice")
	for _, c := range []*client{first, second} {
		query[int](c, launch+"1)")
	}
	first.leave()
	if got := query[int](second, launch+"2)"); got != firstPid+2 || query[int](admin, ours, b.database) != 1 {
		t.Errorf("got %d while another session calls", got)
	}
	second.leave()
	begun := time.Now()
	for admin.try("DROP DATABASE "+b.database) != nil {
		if time.Since(begun) > 30*time.Second {
			t.Fatal("the session for the calls stays")
		}
	}
	admin.exec("CREATE DATABASE " + b.database) // for the test's end
}
