package call_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/call"
)

// marker is a call as it was sent.
type marker struct{ verb, argument, idAndProof string }

// overheard returns a call of an operator's session, as nobody but the gateway sees
// it.
func overheard(b *bed, c *client) marker {
	b.Helper()
	// A session that plays its own gateway is not answered, but hears itself.
	heard := make(chan marker, 1)
	direct := b.plain(b.database, "alice")
	direct.hears = func(n *pgconn.Notice) { heard <- marker{n.Message, n.Detail, n.Hint} }
	direct.exec("SET pgexthost.gateway = '" + query[string](c, "SHOW pgexthost.gateway") + "'; SET statement_timeout = '50ms'")
	direct.refuses(launch+"666)", "57014")
	return <-heard
}

// raise is the statement that sends a marker.
func (m marker) raise() string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	return fmt.Sprintf("DO $do$ BEGIN RAISE INFO USING ERRCODE = 'PX001', MESSAGE = %s, DETAIL = %s, HINT = %s; END $do$",
		quote(m.verb), quote(m.argument), quote(m.idAndProof))
}

func encoded(argument string) string { return base64.StdEncoding.EncodeToString([]byte(argument)) }

// The secret is what keeps callers apart.
func TestTheSecretIsTheOwnersAlone(t *testing.T) {
	b := newBed(t)
	admin := b.plain(b.database, "postgres")
	admin.exec("GRANT pg_read_all_data TO stranger")
	t.Cleanup(func() { admin.exec("REVOKE pg_read_all_data FROM stranger") })
	if n := query[int](b.plain(b.database, "stranger"), "SELECT count(*) FROM pgexthost.secret"); n != 0 {
		t.Errorf("pg_read_all_data reads %d", n)
	}
	alice := b.plain(b.database, "alice")
	alice.refuses("SELECT * FROM pgexthost.secret", "42501")
	for _, call := range []string{"call('register', '')", "mac('', '')", "ask('', '', '', '')", "unseal('', '', 0, 0, '')", "certify('alice', '')"} {
		alice.refuses("SELECT pgexthost."+call, "42501")
	}
	if n := query[int](b.plain(b.database, "owner"), "SELECT length(secret) FROM pgexthost.secret"); n != 32 {
		t.Errorf("it has %d bytes", n)
	}
}

// A schema that was installed anew has another secret.
func TestANewSecretIsLearned(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	query[int](c, launch+"1)")
	b.plain(b.database, "owner").exec("UPDATE pgexthost.secret SET secret = DEFAULT")
	if pid := query[int](c, launch+"2)"); pid != firstPid+2 {
		t.Errorf("pid %d", pid)
	}
}

// Whoever may not call raises the message himself, with all that he can know.
func TestAForgedCallHasNoEffect(t *testing.T) {
	b := newBed(t)
	stranger := b.connect("stranger")
	argument := encoded(`{"library": "lib", "function": "main", "name": "n", "restart_time": -1}`)
	number, proof := strings.Repeat("ab", 8), strings.Repeat("cd", 32)
	for _, m := range []marker{
		{"register", argument, number + " " + proof}, {"register", argument, number}, {"register", argument, ""}, {"register", "", " "},
		{"register", "{", number + " " + proof}, {"more", encoded("0"), number + " " + proof}, {"", "", "x y"}, {"register", argument, number + " zz"},
	} {
		stranger.exec(m.raise())
	}
	// A true one of another session, by whoever may have it from a server log.
	m := overheard(b, b.connect("alice"))
	stranger.exec(m.raise())
	b.connect("alice").exec(m.raise())
	// And one that was answered.
	var heard []marker
	alice := b.connect("alice")
	alice.hears = func(n *pgconn.Notice) { heard = append(heard, marker{n.Message, n.Detail, n.Hint}) }
	if pid := query[int](alice, launch+"1)"); pid != firstPid+1 {
		t.Errorf("pid %d", pid)
	}
	stranger.exec(heard[0].raise())
	b.connect("alice").exec(heard[0].raise())
	if pid := query[int](alice, launch+"2)"); pid != firstPid+2 {
		t.Errorf("pid %d", pid)
	}
	b.calls.Close() // which waits for what is in progress
	if n := b.host.count(); n != 2 {
		t.Errorf("%d workers are registered", n)
	}
	if len(stranger.failed) > 0 {
		t.Errorf("a forger's statement is cancelled: %v", <-stranger.failed)
	}
}

func TestACallCountsOnce(t *testing.T) {
	b := newBed(t)
	var heard []marker
	c := b.connect("alice")
	c.hears = func(n *pgconn.Notice) { heard = append(heard, marker{n.Message, n.Detail, n.Hint}) }
	query[int](c, launch+"1)")
	for range 3 {
		c.exec(heard[0].raise())
	}
	c.exec(launch + "2)")
	if n := b.host.count(); n != 2 {
		t.Errorf("%d workers are registered", n)
	}
}

func TestAWrongNonceIsNobodys(t *testing.T) {
	b := newBed(t)
	for _, nonce := range []string{"", "x", strings.Repeat("g", 32), strings.Repeat("A", 32), strings.Repeat("ab", 17)} {
		s := b.calls.Attach(b.database, 1, nonce, func(e *elog.ErrorData) { t.Errorf("%q: %v", nonce, e) })
		if s.Handle("register", encoded("{}"), strings.Repeat("ab", 8)+" "+strings.Repeat("cd", 32)) {
			t.Errorf("%q: it is taken for a call", nonce)
		}
		s.Over()
		s.Close()
	}
	if !call.IsRequest("PX001") || call.IsRequest("PX002") || call.IsRequest("00000") {
		t.Error("the wrong messages are calls")
	}
}

// Whoever takes the keys of somebody's locks delays his calls, and no more.
func TestTakenLocksDelayAnAnswerAtMost(t *testing.T) {
	b := newBed(t)
	c := b.connect("alice")
	query[int](c, launch+"0)")
	pid := c.PgConn().PID()
	attacker := b.plain(b.database, "stranger")
	const all = "SELECT pg_try_advisory_lock%s(1885819648 + i, %d) FROM generate_series(0, 7) i"
	for _, locks := range []string{
		fmt.Sprintf(all, "", pid), fmt.Sprintf(all, "_shared", pid),
		// Words of its own among those of the answer, in the places of both attempts.
		fmt.Sprintf("SELECT pg_try_advisory_lock(%d::bigint << 42 | p << 32 | w) FROM unnest('{0,1,2,3,256,257,258}'::bigint[]) p, generate_series(1, 40) w", pid),
		fmt.Sprintf("SELECT pg_try_advisory_lock(%d::bigint << 42 | p << 32 | 77) FROM generate_series(0::bigint, 1023) p", pid),
	} {
		attacker.exec("SELECT pg_advisory_unlock_all(); " + locks)
		for i := range 5 {
			start := time.Now()
			if got := query[int](c, launch+itoa(i)+")"); got != firstPid+i {
				t.Errorf("%s: got %d", locks, got)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%s: it took %v", locks, took)
			}
		}
		// Its own session may take them as well.
		c.exec("SELECT pg_advisory_unlock_all(); " + locks)
		if got := query[int](c, launch+"9)"); got != firstPid+9 {
			t.Errorf("%s: got %d", locks, got)
		}
		c.exec("SELECT pg_advisory_unlock_all()")
	}
}

// Nobody can know beforehand which locks an answer takes. Should somebody have one of
// them all the same, others do.
func TestAnAnswerIsSaidWithOtherLocks(t *testing.T) {
	b := newBed(t)
	attacker := b.plain(b.database, "stranger")
	const pid = 4711
	for _, which := range []int{0, 3, -1} { // -1: all
		first, held, err := call.SayThough(within(t), b.conninfo+" user=owner", b.database, pid, func(keys []int64) {
			if which >= 0 {
				keys = keys[which : which+1]
			}
			attacker.exec("SELECT pg_advisory_unlock_all()")
			query[int](attacker, "SELECT count(pg_advisory_lock(k)) FROM unnest($1::bigint[]) k", keys)
		})
		check(t, err)
		if len(held) != len(first) {
			t.Errorf("%d: said with %d locks of %d", which, len(held), len(first))
		}
		for _, key := range held {
			if slices.Contains(first, key) {
				t.Errorf("%d: said with a lock of the first attempt", which)
			}
		}
	}
}
