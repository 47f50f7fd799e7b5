package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// busy waits until a role's session runs a statement that contains the text.
func busy(t testing.TB, observer *pgx.Conn, text string, n int) {
	t.Helper()
	eventually(t, "the statement runs", func() bool {
		return one(t, observer, "SELECT count(*)::text FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%'||$1||'%'", text) == fmt.Sprint(n)
	})
}

func TestACancelRequestCancelsTheRightStatementAmongMany(t *testing.T) {
	b, d := shared(t), direct(t)
	const many = 8
	failed := make([]chan error, many)
	conns := make([]*pgx.Conn, many)
	for i := range many {
		failed[i] = make(chan error, 1)
		conns[i] = open(t, b.tcp("scrammer"))
		go func() {
			_, err := conns[i].Exec(context.Background(), "SELECT pg_sleep(1000) /* many */")
			failed[i] <- err
		}()
	}
	busy(t, d, "/* many */", many)
	for i := range many {
		check(t, conns[i].PgConn().CancelRequest(testContext(t)))
		select {
		case err := <-failed[i]:
			expectState(t, err, elog.QueryCanceled)
		case <-time.After(limit):
			t.Fatal("not cancelled")
		}
		busy(t, d, "/* many */", many-1-i)
		if got := one(t, conns[i], "SELECT 'alive'"); got != "alive" {
			t.Error("the session did not survive")
		}
	}
}

func TestACancelRequestWithAnotherSecretDoesNothing(t *testing.T) {
	b, d := shared(t), direct(t)
	p := b.dial(t)
	p.startup("plain")
	until[*pgproto3.AuthenticationCleartextPassword](p)
	p.send(&pgproto3.PasswordMessage{Password: "s3cret"})
	key := *until[*pgproto3.BackendKeyData](p)
	until[*pgproto3.ReadyForQuery](p)
	p.send(&pgproto3.Query{String: "SELECT pg_sleep(1000) /* secret */"})
	busy(t, d, "/* secret */", 1)
	for _, wrong := range []pgproto3.CancelRequest{
		{ProcessID: key.ProcessID, SecretKey: key.SecretKey + 1},
		{ProcessID: key.ProcessID + 1, SecretKey: key.SecretKey},
		{},
	} {
		c := b.dial(t)
		c.send(&wrong)
		c.silentlyOver()
	}
	busy(t, d, "/* secret */", 1)
	c := b.dial(t)
	c.send(&pgproto3.CancelRequest{ProcessID: key.ProcessID, SecretKey: key.SecretKey})
	c.silentlyOver()
	for {
		if e, ok := p.receive().(*pgproto3.ErrorResponse); ok {
			if e.Code != string(elog.QueryCanceled) {
				t.Errorf("got %s: %s", e.Code, e.Message)
			}
			break
		}
	}
	_ = p.conn.Close()
	eventually(t, "the key is forgotten", func() bool {
		b.gateway.keys.mu.Lock()
		defer b.gateway.keys.mu.Unlock()
		return len(b.gateway.keys.sessions) == 0
	})
}

func TestOneClientTooManyIsToldSo(t *testing.T) {
	b := shared(t, "max_connections=2")
	first, second := open(t, b.tcp("scrammer")), open(t, b.unix("trusted"))
	e := refusal(t, b.tcp("scrammer"))
	if e.Code != string(elog.TooManyConnections) || e.Message != "sorry, too many clients already" {
		t.Errorf("got %v", e)
	}
	d := direct(t)
	failed := make(chan error, 1)
	go func() {
		_, err := first.Exec(context.Background(), "SELECT pg_sleep(1000) /* full */")
		failed <- err
	}()
	busy(t, d, "/* full */", 1)
	check(t, first.PgConn().CancelRequest(testContext(t))) // for which there is always room
	select {
	case err := <-failed:
		expectState(t, err, elog.QueryCanceled)
	case <-time.After(limit):
		t.Fatal("not cancelled")
	}
	check(t, second.Close(testContext(t)))
	eventually(t, "there is room again", func() bool {
		conn, err := pgx.Connect(testContext(t), b.tcp("scrammer"))
		if err == nil {
			_ = conn.Close(testContext(t))
		}
		return err == nil
	})
}

// A crowd that says nothing is bounded, and gone when its time is up.
func TestACrowdAtTheDoorIsBoundedAndLeaves(t *testing.T) {
	b := shared(t, "max_connections=2", "authentication_timeout=2")
	inside := open(t, b.tcp("scrammer"))
	var crowd []*peer
	for range 20 {
		crowd = append(crowd, b.dial(t))
	}
	if got := one(t, inside, "SELECT 'alive'"); got != "alive" {
		t.Error(got)
	}
	if n := gatewayGoroutines(); n > 4+8 {
		t.Errorf("%d goroutines serve a crowd that should be four clients", n)
	}
	for _, p := range crowd {
		_, err := io.Copy(io.Discard, p.conn)
		if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
			t.Fatal("somebody is left at the door")
		}
	}
	eventually(t, "there is room again", func() bool {
		conn, err := pgx.Connect(testContext(t), b.tcp("scrammer"))
		if err == nil {
			_ = conn.Close(testContext(t))
		}
		return err == nil
	})
}

func TestAClientThatDoesNotAnswerIsGivenUpOn(t *testing.T) {
	b := shared(t, "authentication_timeout=1")
	besides(t, b)
	t.Run("no start-up packet", func(t *testing.T) {
		b.dial(t).fatal("57014", "canceling authentication due to timeout")
	})
	t.Run("half of one", func(t *testing.T) {
		p := b.dial(t)
		p.raw([]byte{0, 0, 0, 50, 0, 3})
		p.fatal("57014", "canceling authentication due to timeout")
	})
	t.Run("no password", func(t *testing.T) {
		p := b.dial(t)
		p.startup("plain")
		until[*pgproto3.AuthenticationCleartextPassword](p)
		p.fatal("57014", "canceling authentication due to timeout")
	})
	t.Run("a password in drops", func(t *testing.T) {
		p := b.dial(t)
		p.startup("plain")
		until[*pgproto3.AuthenticationCleartextPassword](p)
		p.raw([]byte{'p', 0, 0, 0})
		p.fatal("57014", "canceling authentication due to timeout")
	})
}

// knows32 reports whether the server speaks protocol 3.2.
func knows32(t testing.TB) bool {
	major, _, _ := strings.Cut(sharedServer(t).Version(), ".")
	n, err := strconv.Atoi(major)
	check(t, err)
	return n >= 18
}

// Of the hosts of the settings only one has the session.
func TestACancelRequestGoesToTheHostThatHasTheSession(t *testing.T) {
	s, d := sharedServer(t), direct(t)
	elsewhere := shortTempDir(t)
	b := newBed(t, fmt.Sprintf("host=%s,%s,/nonexistent port=5432,%d,5432 user=postgres dbname=postgres", elsewhere, s.Dir(), s.Port()))
	conn := open(t, b.tcp("scrammer"))
	// By now the host before it is there, too.
	other, err := net.Listen("unix", elsewhere+"/.s.PGSQL.5432")
	check(t, err)
	defer func() { _ = other.Close() }()
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(1000) /* hosts */")
		failed <- err
	}()
	busy(t, d, "/* hosts */", 1)
	check(t, conn.PgConn().CancelRequest(testContext(t)))
	select {
	case err := <-failed:
		expectState(t, err, elog.QueryCanceled)
	case <-time.After(limit):
		t.Fatal("not cancelled")
	}
}

// Protocol 3.2 has longer keys.
func TestACancelRequestOfTheNewestProtocol(t *testing.T) {
	b, d := shared(t), direct(t)
	conn := open(t, b.tcp("scrammer")+" max_protocol_version=3.2")
	if n := len(conn.PgConn().SecretKey()); knows32(t) != (n > 4) {
		t.Errorf("a secret of %d bytes", n)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(1000) /* newest */")
		failed <- err
	}()
	busy(t, d, "/* newest */", 1)
	check(t, conn.PgConn().CancelRequest(testContext(t)))
	expectState(t, <-failed, elog.QueryCanceled)
}

// The server negotiates: what it does not know it says, and the session goes on.
func TestProtocolVersionsAreNegotiatedByTheServer(t *testing.T) {
	b := shared(t)
	const to30, to32 = "\x00\x03\x00\x00\x00\x00\x00\x00", "\x00\x03\x00\x02\x00\x00\x00\x00"
	from39, from32, extension := to30, to30, "\x00\x03\x00\x00\x00\x00\x00\x01_pq_.x\x00"
	if knows32(t) {
		from39, from32 = to32, ""
	}
	for name, tt := range map[string]struct {
		version uint32
		more    []string
		want    string
	}{
		"3.9":            {3<<16 | 9, nil, from39},
		"3.2":            {3<<16 | 2, nil, from32},
		"an extension":   {version30, []string{"_pq_.x", "y"}, extension},
		"3.0, as it was": {version30, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dialUnix(t)
			p.send(startupMessage(tt.version, "trusted", tt.more...))
			kind, body := p.hear()
			if tt.want != "" {
				if kind != 'v' || string(body) != tt.want {
					t.Fatalf("got %c %q", kind, body)
				}
				kind, _ = p.hear()
			}
			if kind != 'R' {
				t.Fatalf("got %c", kind)
			}
			for kind != 'Z' {
				kind, _ = p.hear()
			}
		})
	}
}

func TestAReplicationConnectionPassesThrough(t *testing.T) {
	b := shared(t)
	p := b.dialUnix(t)
	p.startup("postgres", "replication", "database")
	until[*pgproto3.ReadyForQuery](p)
	p.send(&pgproto3.Query{String: "IDENTIFY_SYSTEM"})
	row := until[*pgproto3.DataRow](p)
	if len(row.Values) != 4 {
		t.Fatalf("got %q", row.Values)
	}
	var high, low uint32
	_, err := fmt.Sscanf(string(row.Values[2]), "%X/%X", &high, &low)
	check(t, err)
	until[*pgproto3.ReadyForQuery](p)
	segment := (low - 1) &^ (16<<20 - 1) // older ones may have been removed
	p.send(&pgproto3.Query{String: fmt.Sprintf("START_REPLICATION PHYSICAL %X/%X TIMELINE 1", high, segment)})
	until[*pgproto3.CopyBothResponse](p)
	until[*pgproto3.CopyData](p)
	p.send(&pgproto3.CopyDone{})
	until[*pgproto3.CopyDone](p)
	until[*pgproto3.ReadyForQuery](p)
}

// A client that never reads holds up nobody else, and costs no more than the
// look-ahead; what it comes back for is all there.
func TestAClientThatReadsLateGetsEverything(t *testing.T) {
	b := shared(t)
	n := besides(t, b)
	p := b.dial(t)
	p.login()
	const rows = 200_000
	p.raw(append(msg('Q', fmt.Sprintf("SELECT i, repeat('x', 100) FROM generate_series(1, %d) i\x00", rows)), msg('X', "")...))
	d := direct(t)
	eventually(t, "the server waits for its client", func() bool {
		return one(t, d, "SELECT count(*)::text FROM pg_stat_activity WHERE usename = 'plain' AND wait_event = 'ClientWrite'") == "1"
	})
	n.works()
	got := 0
	for {
		m := p.receive()
		if _, ok := m.(*pgproto3.DataRow); ok {
			got++
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			break
		}
	}
	if got != rows {
		t.Errorf("got %d rows", got)
	}
	p.over()
}

// What the server has said before it hung up is not lost on a slow client.
func TestTheEndOfAResultReachesASlowClient(t *testing.T) {
	b := shared(t)
	p := b.dialUnix(t) // whose buffers are small
	p.login()
	d := direct(t)
	size := lookAhead // which the gateway keeps when the server has long gone
	p.raw(append(msg('Q', fmt.Sprintf("SELECT repeat('x', %d)\x00", size)), msg('X', "")...))
	eventually(t, "the server's session ends", func() bool { return sessions(t, d, "plain") == "0" })
	pause := time.NewTimer(3 * refuseTime / 2) // no event tells that the gateway has lost its patience
	<-pause.C
	row := until[*pgproto3.DataRow](p)
	if len(row.Values[0]) != size {
		t.Errorf("got %d bytes", len(row.Values[0]))
	}
	until[*pgproto3.ReadyForQuery](p)
}

func TestAClientThatLeavesAmidAHugeResultLeavesNothingBehind(t *testing.T) {
	b := shared(t)
	besides(t, b)
	d := direct(t)
	p := b.dial(t)
	p.login()
	p.send(&pgproto3.Query{String: "SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"})
	until[*pgproto3.DataRow](p)
	_ = p.conn.Close()
	eventually(t, "the server's session ends", func() bool { return sessions(t, d, "plain") == "0" })
}

// A client that writes a pipeline of some megabytes before it reads deadlocks
// neither with the server alone nor with the gateway between.
func TestALongPipelineWrittenBeforeAnythingIsRead(t *testing.T) {
	b := shared(t)
	one := slicesOf(
		msg('P', "\x00SELECT 1\x00\x00\x00"), msg('B', "\x00\x00\x00\x00\x00\x00\x00\x00"), msg('E', "\x00\x00\x00\x00\x00"), msg('S', ""),
	)
	const times = 10_000
	pipeline := bytes.Repeat(one, times)
	for name, p := range map[string]*peer{
		"native":  dialPeer(t, "unix", fmt.Sprintf("%s/.s.PGSQL.%d", sharedServer(t).Dir(), sharedServer(t).Port())),
		"gateway": b.dialUnix(t),
	} {
		t.Run(name, func(t *testing.T) {
			p.login()
			written := make(chan error, 1)
			go func() {
				_, err := p.conn.Write(pipeline)
				written <- err
			}()
			if name == "gateway" {
				// 10,000 answers are about 500 kB: more than a socket holds, less than
				// the look-ahead. All is written without anything being read.
				check(t, <-written)
			}
			for range times {
				until[*pgproto3.ReadyForQuery](p)
			}
		})
	}
}

// Syncs that the server ignores, in an order in which drivers send them, leave the
// session in step.
func TestCopyWithSyncsThatTheServerIgnores(t *testing.T) {
	b := shared(t)
	p := b.dialUnix(t)
	p.startup("trusted")
	until[*pgproto3.ReadyForQuery](p)
	p.send(&pgproto3.Query{String: "CREATE TEMP TABLE t (i int)"})
	until[*pgproto3.ReadyForQuery](p)
	p.raw(slicesOf(
		msg('P', "\x00COPY t FROM STDIN\x00\x00\x00"), msg('B', "\x00\x00\x00\x00\x00\x00\x00\x00"), msg('E', "\x00\x00\x00\x00\x00"), msg('S', ""),
		msg('d', "1\n"), msg('S', ""), msg('H', ""), msg('d', "2\n"), msg('c', ""), msg('S', ""),
		msg('Q', "SELECT count(*) FROM t\x00"),
	))
	until[*pgproto3.ReadyForQuery](p)
	if row := until[*pgproto3.DataRow](p); string(row.Values[0]) != "2" {
		t.Errorf("got %q", row.Values)
	}
	until[*pgproto3.ReadyForQuery](p)
	_ = p.conn.Close()
}

func TestAStoppedServerIsSeenByItsClients(t *testing.T) {
	s := startServer(t)
	b := newBed(t, s.ConnInfo())
	killed, terminated := open(t, b.tcp("scrammer")), b.dial(t)
	terminated.login()
	if got := one(t, killed, "SELECT bool_and(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE usename = 'plain'"); got != "true" {
		t.Fatal(got)
	}
	terminated.fatal("57P01", "terminating connection due to administrator command")
	check(t, s.Crash())
	if _, err := tryOne(t, killed, "SELECT 1::text"); err == nil || sqlState(err) == "28000" {
		t.Errorf("got %v", err)
	}
	e := refusal(t, b.unix("trusted"))
	if !strings.HasPrefix(e.Code, "08") || e.Severity != "FATAL" {
		t.Errorf("got %v", e)
	}
	check(t, s.Restart(testContext(t)))
	if got := one(t, open(t, b.unix("trusted")), "SELECT 'back'"); got != "back" {
		t.Error(got)
	}
}

func TestPgReceivewalStreamsThroughTheGateway(t *testing.T) {
	b, d := shared(t), direct(t)
	_, err := d.Exec(testContext(t), "SELECT pg_switch_wal(); SELECT pg_logical_emit_message(false, 'test', 'first')")
	check(t, err)
	end := one(t, d, "SELECT pg_current_wal_lsn()::text")
	_, err = d.Exec(testContext(t), "SELECT pg_logical_emit_message(true, 'test', 'second')")
	check(t, err)
	dir := shortTempDir(t)
	out, ok := run(t, "pg_receivewal", "-d", strings.Replace(b.unix("postgres"), "dbname=postgres", "", 1), "-D", dir, "--endpos="+end, "--no-loop", "--synchronous")
	if strings.Contains(out, "incompatible server version") {
		t.Skip(out)
	}
	files, err := os.ReadDir(dir)
	if !ok || err != nil || len(files) == 0 {
		t.Errorf("%v, %s: %v %v", ok, out, files, err)
	}
	if out, ok := run(t, "pg_receivewal", "-d", strings.Replace(b.tcp("postgres"), "dbname=postgres", "", 1), "-D", dir, "--endpos="+end, "--no-loop"); ok || !strings.Contains(out, "without asking the client for anything") {
		t.Errorf("without a password: %v %s", ok, out)
	}
}

func TestPgRecvlogicalStreamsThroughTheGateway(t *testing.T) {
	s := startServer(t, "wal_level=logical")
	b, d := newBed(t, s.ConnInfo()), open(t, s.ConnInfo())
	if _, err := d.Exec(testContext(t), "LOAD 'test_decoding'"); err != nil {
		t.Skip(err)
	}
	recvlogical := func(args ...string) string {
		out, ok := run(t, "pg_recvlogical", append([]string{"-d", b.tcp("scrammer"), "--slot=s", "--no-loop"}, args...)...)
		if !ok {
			t.Fatal(out)
		}
		return out
	}
	recvlogical("--create-slot")
	_, err := d.Exec(testContext(t), "CREATE TABLE streamed (i int); INSERT INTO streamed VALUES (4711)")
	check(t, err)
	end := one(t, d, "SELECT pg_current_wal_insert_lsn()::text")
	_, err = d.Exec(testContext(t), "INSERT INTO streamed VALUES (4712)")
	check(t, err)
	if out := recvlogical("--start", "--endpos="+end, "-f", "-"); !strings.Contains(out, "INSERT: i[integer]:4711") {
		t.Errorf("got %s", out)
	}
}

// A server that takes connections and says nothing, as one that is stopped does.
func TestAServerThatDoesNotAnswerIsGivenUpOn(t *testing.T) {
	b, _ := newBedBeforeFake(t, "authentication_timeout=1")
	p := b.dial(t)
	p.startup("plain")
	p.fatal("57014", "canceling authentication due to timeout")
}
