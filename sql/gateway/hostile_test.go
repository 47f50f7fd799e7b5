package gateway

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"
)

// neighbour is a session that must not notice what others do.
type neighbour struct {
	t    testing.TB
	conn *pgx.Conn
	n    int
}

func (n *neighbour) works() {
	n.t.Helper()
	n.n++
	if got := one(n.t, n.conn, "SELECT $1::text", fmt.Sprint(n.n)); got != fmt.Sprint(n.n) {
		n.t.Fatalf("got %s, want %d", got, n.n)
	}
}

// besides gives a test a neighbour, and expects that nothing of the test's clients
// is left in the end: no goroutine, no descriptor, no session of the server.
func besides(t *testing.T, b *bed) *neighbour {
	t.Helper()
	n := &neighbour{t: t, conn: open(t, b.tcp("scrammer"))}
	n.works()
	observer := direct(t)
	countSessions := func() string {
		return one(t, observer, "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender')")
	}
	goroutines, descriptors, sessions := gatewayGoroutines(), openDescriptors(t), countSessions()
	t.Cleanup(func() {
		n.works()
		eventually(t, "no goroutine is left", func() bool { return gatewayGoroutines() <= goroutines })
		eventually(t, "no descriptor is left", func() bool { return openDescriptors(t) <= descriptors })
		eventually(t, "no session of the server is left", func() bool { return countSessions() == sessions })
	})
	return n
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(all)
}

// What PostgreSQL's COMMERROR is: a line of the log, and no answer.
func TestNonsenseInsteadOfAStartupPacketGetsNoAnswer(t *testing.T) {
	b := shared(t)
	besides(t, b)
	for name, say := range map[string][]byte{
		"HTTP":                    []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"TLS where there is none": {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"a negative length":       {0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0},
		"a length of 7":           {0, 0, 0, 7, 0, 3, 0, 0},
		"10005 bytes":             packet(version30, strings.Repeat("x", 10005-8)),
		"a short cancel request":  packet(codeCancel, "\x00\x00\x00\x01"),
		"a long cancel request":   packet(codeCancel, strings.Repeat("x", 4+257)),
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dial(t)
			p.raw(say)
			p.silentlyOver()
		})
	}
	if !b.process.said("invalid length of startup packet") {
		t.Error("the log has nothing about it")
	}
}

// A client that breaks off wherever it likes leaves nothing behind.
func TestAClientMayLeaveAtEveryByteOfItsStart(t *testing.T) {
	b := shared(t)
	n := besides(t, b)
	whole := slicesOf(
		packet(codeGSSENC, ""), packet(codeSSL, ""), packet(version30, "user\x00plain\x00database\x00postgres\x00\x00"),
		msg('p', "s3cret\x00"), msg('Q', "SELECT 1\x00"),
	)
	for i := range len(whole) + 1 {
		conn := b.dial(t).conn
		_, _ = conn.Write(whole[:i])
		_ = conn.Close()
	}
	n.works()
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestMalformedStartupPacketsAreRefused(t *testing.T) {
	b := shared(t)
	besides(t, b)
	for name, tt := range map[string]struct {
		say           []byte
		code, message string
	}{
		"no terminator": {packet(version30, "user\x00plain\x00"), "08P01", "invalid startup packet layout: expected terminator as last byte"},
		"more than one": {packet(version30, "user\x00plain\x00\x00\x00"), "08P01", "invalid startup packet layout: expected terminator as last byte"},
		"no user":       {packet(version30, "database\x00postgres\x00\x00"), "28000", "no PostgreSQL user name specified in startup packet"},
		"nothing":       {packet(version30, "\x00"), "28000", "no PostgreSQL user name specified in startup packet"},
		"protocol 4":    {packet(4<<16, "user\x00plain\x00\x00"), "0A000", "unsupported frontend protocol 4.0: server supports 3.0 to 3.2"},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dialUnix(t)
			p.raw(tt.say)
			p.fatal(tt.code, tt.message)
		})
	}
}

// To a client of protocol 2 PostgreSQL speaks as it can understand: 'E', a text, NUL.
func TestAClientOfProtocol2CanReadWhyItIsRefused(t *testing.T) {
	b := shared(t)
	p := b.dial(t)
	p.raw(packet(2<<16, strings.Repeat("\x00", 288)))
	got, err := io.ReadAll(p.conn)
	check(t, err)
	if want := "EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.2\n\x00"; string(got) != want {
		t.Errorf("got %q", got)
	}
}

func TestBadAnswersToTheRequestForAPassword(t *testing.T) {
	b := shared(t)
	besides(t, b)
	for name, tt := range map[string]struct {
		say    []byte
		silent bool
	}{
		"a length of 3":          {message('p', 3, ""), true},
		"a negative length":      {message('p', -1, ""), true},
		"more than a token":      {message('p', maxAuthToken+1, "x"), true},
		"a gigabyte":             {message('p', 1<<30, "x"), true},
		"another type, too long": {message('Q', 1<<30, "x"), false},
		"a Terminate":            {msg('X', ""), false},
		"as much as a token":     {message('p', maxAuthToken, strings.Repeat("x", maxAuthToken-4)), false}, // which the server does not like
		"no NUL":                 {msg('p', "s3cret"), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dial(t)
			p.startup("plain")
			until[*pgproto3.AuthenticationCleartextPassword](p)
			p.raw(tt.say)
			if tt.silent {
				p.silentlyOver()
				return
			}
			p.fatal("08P01", "")
		})
	}
}

// What makes no sense in a session the server answers as it does without a gateway,
// after what made sense before.
func TestNonsenseInASessionIsTheServersToAnswer(t *testing.T) {
	b := shared(t)
	n := besides(t, b)
	for name, tt := range map[string]struct {
		say   []byte
		fatal string // the SQLSTATE, if anything is said
	}{
		"an unknown type":               {msg('z', "x"), "08P01"},
		"an unknown type of any length": {message('!', -5, ""), "08P01"},
		"a server's type":               {msg('R', "\x00\x00\x00\x00"), "08P01"},
		"a password":                    {msg('p', "s3cret\x00"), "08P01"},
		"a length of 3":                 {message('Q', 3, ""), ""},
		"a negative length":             {message('Q', -1, ""), ""},
		"the least length":              {message('S', -1<<31, ""), ""},
		"a Sync of a gigabyte":          {message('S', 1<<30, "xxx"), ""},
		"a Query of two":                {message('Q', 1<<31-1, "SELECT"), ""},
		"a start-up packet":             {packet(version30, "user\x00plain\x00\x00"), "08P01"},
		"a TLS record":                  {[]byte{0x16, 3, 1, 2, 0, 1, 0, 1}, "08P01"},
		"a truncated Query":             {message('Q', 100, "SELECT"), "-"},
		"half a header":                 {[]byte{'Q', 0, 0}, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dial(t)
			p.login()
			p.raw(append(msg('Q', "SELECT 'before'\x00"), tt.say...))
			if row := until[*pgproto3.DataRow](p); string(row.Values[0]) != "before" {
				t.Errorf("got %q", row.Values)
			}
			until[*pgproto3.ReadyForQuery](p)
			switch tt.fatal {
			case "":
				p.over()
			case "-":
				_ = p.conn.Close()
			default:
				p.fatal(tt.fatal, "")
			}
			n.works()
		})
	}
}

// Messages whose bodies are broken are errors of the server, and cost a statement
// only.
func TestBrokenBodiesAreTheServersErrors(t *testing.T) {
	b := shared(t)
	n := besides(t, b)
	p := b.dial(t)
	p.login()
	for name, say := range map[string][]byte{
		"a Query without NUL":       msg('Q', "SELECT 1"),
		"an empty Query message":    msg('Q', ""),
		"more than a Query":         msg('Q', "SELECT 1\x00more"),
		"an empty Parse":            append(msg('P', ""), msg('S', "")...),
		"a Parse without NUL":       append(msg('P', "name"), msg('S', "")...),
		"a Parse without types":     append(msg('P', "\x00SELECT 1\x00"), msg('S', "")...),
		"a Bind with a bad count":   append(msg('B', "\x00\x00\x7f\xff"), msg('S', "")...),
		"a Bind with a bad length":  append(msg('B', "\x00\x00\x00\x00\x00\x01\xff\xff\xff\xf0"), msg('S', "")...),
		"a Describe of nothing":     append(msg('D', "?\x00"), msg('S', "")...),
		"an Execute of nothing":     append(msg('E', "none\x00\x00\x00\x00\x00"), msg('S', "")...),
		"a FunctionCall, truncated": msg('F', "\x00\x00"),
		"a FunctionCall of nothing": msg('F', "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
	} {
		p.raw(say)
		failed := false
		for done := false; !done; {
			switch m := p.receive().(type) {
			case *pgproto3.ErrorResponse:
				failed = failed || m.Severity == "ERROR"
			case *pgproto3.ReadyForQuery:
				done = true
			}
		}
		if !failed {
			t.Errorf("%s: no error", name)
		}
		n.works()
	}
	p.send(&pgproto3.Query{String: "SELECT 'alive'"})
	if row := until[*pgproto3.DataRow](p); string(row.Values[0]) != "alive" {
		t.Errorf("got %q", row.Values)
	}
	_ = p.conn.Close()
}

// Random bytes, and random damage to good ones.
func TestRandomDamageTouchesNobodyElse(t *testing.T) {
	b := shared(t)
	n := besides(t, b)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	good := slicesOf(
		msg('Q', "SELECT 1\x00"), msg('P', "\x00SELECT $1::int\x00\x00\x00"), msg('B', "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x011\x00\x00"),
		msg('D', "P\x00"), msg('E', "\x00\x00\x00\x00\x00"), msg('S', ""), msg('d', "data"), msg('c', ""), msg('H', ""),
		msg('Q', "COPY (SELECT 1) TO STDOUT\x00"), msg('X', ""),
	)
	for round := range 60 {
		say := bytes.Clone(good)
		for range 1 + rnd.IntN(5) {
			say[rnd.IntN(len(say))] = byte(rnd.Uint32())
		}
		p := b.dial(t)
		if round%3 == 0 {
			start := packet(version30, "user\x00plain\x00database\x00postgres\x00\x00")
			start[rnd.IntN(len(start))] ^= byte(1 + rnd.IntN(255))
			p.raw(start)
		} else {
			p.login()
		}
		p.raw(say[:rnd.IntN(len(say)+1)])
		if round%2 == 0 {
			go func() { _, _ = io.Copy(io.Discard, p.conn) }()
		}
		n.works()
		_ = p.conn.Close()
	}
}
