package call_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/testkit"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// rounds is how many random calls are made; make torture says more.
func rounds(t *testing.T) int {
	text := os.Getenv("PGEXTHOST_TEST_CALLS")
	if text == "" {
		return 2000
	}
	n, err := strconv.Atoi(text)
	check(t, err)
	return n
}

const gatewaySessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'pgexthost gateway'"

func TestRandomCallsAreAnsweredRightOrCancelledAndLeaveNothing(t *testing.T) {
	b := newBed(t)
	w := b.run("alice", "one")
	long := strings.Repeat("0123456789", 300)
	b.host.change(func(i *workerInfo) { i.Entry.Type = long })
	admin := b.plain(b.database, "postgres")

	const sessions = 8
	stop := make(chan struct{})
	var killer, callers sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
			}
			_, err := admin.Exec(within(t), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgexthost gateway' AND datname = $1", b.database)
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	clients := make([]*client, sessions)
	var answered, cancelled int
	var mu sync.Mutex
	for i := range clients {
		c := b.connect("alice")
		clients[i] = c
		callers.Go(func() {
			for n := range rounds(t) / sessions {
				ok, err := c.random(n, w.pid(), long)
				if err != nil {
					t.Errorf("session %d, call %d: %v", i, n, err)
					return
				}
				mu.Lock()
				if ok {
					answered++
				} else {
					cancelled++
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	close(stop)
	killer.Wait()
	t.Logf("%d answered, %d cancelled", answered, cancelled)
	if answered < cancelled/10 || cancelled < 10 {
		t.Error("that has shown nothing")
	}
	for _, c := range clients {
		c.leave()
	}
	eventually(b, "the locks to go", func() bool {
		return query[int](admin, "SELECT count(*) FROM pg_locks l WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == 0
	})
	if n := query[int](admin, gatewaySessions, b.database); n > 1 {
		t.Errorf("%d sessions answer calls", n)
	}
	b.calls.Close()
	eventually(b, "the gateway's session to go", func() bool { return query[int](admin, gatewaySessions, b.database) == 0 })
}

// random makes a call that may be cancelled in some way. It reports whether it was
// answered.
func (c *client) random(n, workerPid int, long string) (answered bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Limit)
	defer cancel()
	settings := "SET statement_timeout = 0; SET lock_timeout = 0"
	brief := 1 + rand.IntN(20)
	switch rand.IntN(4) {
	case 0:
		settings = fmt.Sprintf("SET statement_timeout = %d; SET lock_timeout = 0", brief)
	case 1:
		settings = fmt.Sprintf("SET statement_timeout = 0; SET lock_timeout = %d", brief)
	case 2:
		timer := time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = c.PgConn().CancelRequest(ctx) })
		defer timer.Stop()
	}
	if _, err := c.PgConn().Exec(ctx, settings).ReadAll(); err != nil {
		return false, cancelledOnly(err)
	}
	if rand.IntN(3) == 0 {
		var got string
		err = c.QueryRow(ctx, "SELECT backend_type FROM pgexthost.pg_stat_activity WHERE pid = $1", workerPid).Scan(&got)
		if err == nil && got != long {
			return false, fmt.Errorf("got %d bytes", len(got))
		}
		return err == nil, cancelledOnly(err)
	}
	var first, second int
	err = c.QueryRow(ctx, "SELECT pgexthost.launch_now('lib', 'main', main_arg => $1), pgexthost.launch_now('lib', 'main', main_arg => $1 + 1)", n).Scan(&first, &second)
	if err == nil && (first != firstPid+n || second != firstPid+n+1) {
		return false, fmt.Errorf("got %d, %d", first-firstPid, second-firstPid)
	}
	return err == nil, cancelledOnly(err)
}

// cancelledOnly returns an error that is not the end of a statement on request.
func cancelledOnly(err error) error {
	if err == nil || connect.SQLState(err) == elog.QueryCanceled {
		return nil
	}
	return errors.Join(errors.New("not cancelled"), err)
}

// A server that has no room for as many locks as an answer needs gets it in smaller
// pieces.
func TestAnAnswerFitsWhatLocksTheServerHasLeft(t *testing.T) {
	b := newBed(t)
	w := b.run("bob", "one")
	long := strings.Repeat("0123456789", 300)
	b.host.change(func(i *workerInfo) { i.Entry.Type = long })
	c := b.connect("postgres")
	// Until the pieces are small enough an attempt takes the last locks for a moment,
	// and the question, like any other of this server, may be in want of one.
	ask := func() (got string) {
		for range 20 {
			err := c.QueryRow(within(t), "SELECT backend_type FROM pgexthost.pg_stat_activity WHERE pid = $1", w.pid()).Scan(&got)
			if connect.SQLState(err) != elog.OutOfMemory {
				check(t, err)
				return got
			}
		}
		return "no answer in 20 attempts"
	}
	if ask() != long {
		t.Fatal("wrong without need")
	}
	hog := b.plain(b.database, "stranger")
	hog.exec("BEGIN")
	taken := 0
	for _, step := range []int{1000, 100, 10, 1} {
		for hog.try(fmt.Sprintf("SAVEPOINT s; SELECT pg_advisory_lock(i) FROM generate_series(%d, %d) i", taken, taken+step-1)) == nil {
			taken += step
		}
		hog.exec("ROLLBACK TO s")
		hog.exec(fmt.Sprintf("SELECT pg_advisory_unlock(i) FROM generate_series(%d, %d) i", taken, taken+step-1))
	}
	hog.exec("SELECT pg_advisory_unlock(i) FROM generate_series(0, 99) i")
	if got := ask(); got != long {
		t.Errorf("got %d bytes", len(got))
	}
	hog.exec("SELECT pg_advisory_unlock_all()")
	if ask() != long {
		t.Error("wrong afterwards")
	}
}

func BenchmarkCall(b *testing.B) {
	bed := newBed(b)
	c := bed.connect("alice")
	query[int](c, launch+"1)")
	b.Run("call", func(b *testing.B) {
		for range b.N {
			query[int](c, "SELECT pgexthost.launch_now('lib', 'main', main_arg => 1)")
		}
	})
	b.Run("hundred in a statement", func(b *testing.B) {
		for range b.N {
			query[int](c, "SELECT count(pgexthost.launch_now('lib', 'main', main_arg => i)) FROM generate_series(1, 100) i")
		}
	})
	b.Run("SELECT 1", func(b *testing.B) {
		for range b.N {
			query[int](c, "SELECT 1")
		}
	})
}
