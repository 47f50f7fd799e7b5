package gateway

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/internal/testkit"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/call"
)

// What these tests share with others, under the names that it has here.
const limit = testkit.Limit

var check, testContext, eventually, shortTempDir = testkit.Check, testkit.Context, testkit.Eventually, testkit.ShortTempDir

// process is the worker's part of a gateway that runs in the test.
type process struct {
	store    *guc.Store
	conninfo string

	refuses  atomic.Bool  // new sessions
	sessions atomic.Int64 // as published last
	counted  atomic.Int64 // sessions that there were

	mu      sync.Mutex
	reports []*elog.ErrorData
}

func (p *process) ShowSetting(name string) (string, error) { return p.store.Show(name) }
func (p *process) ServerConninfo() string                  { return p.conninfo }
func (p *process) SetSessions(n int)                       { p.sessions.Store(int64(n)) }
func (p *process) CountSession()                           { p.counted.Add(1) }
func (p *process) RefusesSessions() bool                   { return p.refuses.Load() }

func (p *process) Ereport(e *elog.ErrorData) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = append(p.reports, e)
}

func (p *process) Logf(level elog.Level, format string, args ...any) {
	p.Ereport(elog.New(level, "", format, args...))
}

// said reports whether a line of the log contains the text.
func (p *process) said(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.reports {
		if strings.Contains(e.Message, text) {
			return true
		}
	}
	return false
}

// bed is a gateway in the test's process.
type bed struct {
	t       testing.TB
	gateway *gateway
	process *process
	dir     string // of the socket
	port    int
	stop    func() // tells the clients, and returns when they have left
}

// newBed starts a gateway before a server. It listens on a unix socket and on
// 127.0.0.1.
func newBed(t testing.TB, conninfo string, overrides ...string) *bed {
	t.Helper()
	return newBedWith(t, conninfo, nil, overrides...)
}

// newBedWith is newBed for a gateway that answers calls, or nil.
func newBedWith(t testing.TB, conninfo string, host call.Host, overrides ...string) *bed {
	t.Helper()
	b := beginBed(t, conninfo, host, overrides...)
	eventually(t, "the gateway listens", func() bool {
		return b.process.said(`listening on Unix socket`) && b.process.said(`listening on address`)
	})
	return b
}

// beginBed is newBedWith, and does not wait until the gateway listens.
func beginBed(t testing.TB, conninfo string, host call.Host, overrides ...string) *bed {
	t.Helper()
	b := &bed{t: t, dir: shortTempDir(t), port: testkit.FreePort(t), process: &process{store: guc.NewStore(settings.Definitions()...), conninfo: conninfo}}
	for _, o := range append([]string{
		"unix_socket_directories=" + b.dir, "listen_addresses=127.0.0.1", fmt.Sprint("port=", b.port),
	}, overrides...) {
		name, value, _ := strings.Cut(o, "=")
		check(t, b.process.store.Override(name, value))
	}
	g, err := newGateway(b.process)
	check(t, err)
	if host != nil {
		g.answers = call.NewServer(host, b.process.ServerConninfo, g.log)
		t.Cleanup(g.answers.Close)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.ending = ctx.Done()
	read, err := g.read()
	check(t, err)
	g.listen(ctx, read)
	b.gateway = g
	b.stop = sync.OnceFunc(func() {
		cancel()
		gone := make(chan struct{})
		go func() { g.clients.Wait(); close(gone) }()
		select {
		case <-gone:
		case <-time.After(limit):
			t.Errorf("the gateway's clients do not leave:\n%s", stacks())
		}
	})
	t.Cleanup(b.stop)
	return b
}

// shared is a gateway before the server that all tests share.
func shared(t testing.TB, overrides ...string) *bed {
	t.Helper()
	return newBed(t, sharedServer(t).ConnInfo(), overrides...)
}

// unix and tcp are conninfos through the gateway.
func (b *bed) unix(user string) string {
	return fmt.Sprintf("host=%s port=%d user=%s dbname=postgres password=s3cret", b.dir, b.port, user)
}

func (b *bed) tcp(user string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres password=s3cret sslmode=disable", b.port, user)
}

func (b *bed) socket() string { return fmt.Sprintf("%s/.s.PGSQL.%d", b.dir, b.port) }

// open connects a driver, which the test's end disconnects.
func open(t testing.TB, conninfo string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(testContext(t), conninfo)
	check(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// one returns one value as text.
func one(t testing.TB, conn *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	value, err := tryOne(t, conn, sql, args...)
	check(t, err)
	return value
}

func tryOne(t testing.TB, conn *pgx.Conn, sql string, args ...any) (value string, err error) {
	t.Helper()
	err = conn.QueryRow(testContext(t), sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...).Scan(&value)
	return value, err
}

// refusal is the error that a client gets that must not be let in.
func refusal(t testing.TB, conninfo string) *pgconn.PgError {
	t.Helper()
	conn, err := pgx.Connect(testContext(t), conninfo)
	if err == nil {
		_ = conn.Close(context.Background())
		t.Fatal("the client was let in")
	}
	told := testkit.ServerError(err)
	if told == nil {
		t.Fatalf("got %T %v, want an error of the server or the gateway", err, err)
	}
	return told
}

func sqlState(err error) string {
	if told := testkit.ServerError(err); told != nil {
		return told.Code
	}
	return ""
}

func expectState(t testing.TB, err error, want elog.SQLState) {
	t.Helper()
	if sqlState(err) != string(want) {
		t.Errorf("got %v, want SQLSTATE %s", err, want)
	}
}

// direct is a session that bypasses the gateway.
func direct(t testing.TB) *pgx.Conn {
	t.Helper()
	return open(t, sharedServer(t).ConnInfo())
}

func sharedServer(t testing.TB) *localpg.Server {
	t.Helper()
	return theServer.Running(t)
}

// sessions counts the server's sessions of a role.
func sessions(t testing.TB, conn *pgx.Conn, user string) string {
	t.Helper()
	return one(t, conn, "SELECT count(*)::text FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()", user)
}

// stacks are those of all goroutines.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// gatewayGoroutines counts the goroutines that serve clients.
func gatewayGoroutines() int {
	n := 0
	for stack := range strings.SplitSeq(stacks(), "\n\n") {
		if strings.Contains(stack, "gateway.(*session)") || strings.Contains(stack, "gateway.(*gateway).serve") || strings.Contains(stack, "gateway.(*sink).drain") {
			n++
		}
	}
	return n
}
