//go:build linux

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// gatewayCalls is the environment variable that says how many calls
// TestRandomCallsThroughTheGatewayAreRightOrEndAndLeaveNothing makes.
const gatewayCalls = "PGEXTHOST_TEST_GATEWAY_CALLS"

// callers are clients that call the host through the gateway, while somebody ends
// what answers them.
type callers struct {
	t       *testing.T
	g       *gatewayHost
	rounds  int
	restart bool // the server, too

	answered, ended, lost atomic.Int64
}

// caller is one of them. It has a session, and another when that is lost.
type caller struct {
	*callers
	id       int
	made     int
	database string
	random   *rand.Rand
	conn     *pgx.Conn
}

// TestRandomCallsThroughTheGatewayAreRightOrEndAndLeaveNothing makes calls in every
// way there is, in two databases, with cancel requests, time-outs and clients that
// leave amid a call, while the session that answers is terminated, the gateway is
// killed and the server restarted.
func TestRandomCallsThroughTheGatewayAreRightOrEndAndLeaveNothing(t *testing.T) {
	const sessions = 6
	rounds := 300
	if text := os.Getenv(gatewayCalls); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	server := ownServer(t)
	all := &callers{t: t, g: startGateway(t, server, withSetting("max_worker_processes=64")), rounds: rounds / sessions, restart: true}
	databases := []string{"calls1", "calls2"}
	for _, database := range databases {
		execSQL(t, server.ConnInfo(), "CREATE DATABASE "+database)
		execSQL(t, all.g.conninfo(database), "CREATE EXTENSION pgexthost")
	}
	stop := make(chan struct{})
	var chaos, working sync.WaitGroup
	chaos.Go(func() { all.disturb(rand.New(rand.NewPCG(seed, 0)), stop) })
	for i := range sessions {
		c := &caller{callers: all, id: i, database: databases[i%2], random: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		working.Go(c.work)
	}
	working.Wait()
	close(stop)
	chaos.Wait()
	t.Logf("%d answered, %d ended on request, %d lost with their session", all.answered.Load(), all.ended.Load(), all.lost.Load())
	if all.answered.Load() < int64(rounds)/4 || all.ended.Load() == 0 || all.lost.Load() == 0 {
		t.Error("that has shown little")
	}
	all.leaveNothing(server)
	for _, database := range databases {
		c := &caller{callers: all, id: sessions, database: database, random: rand.New(rand.NewPCG(seed, 99))}
		if pid, err := c.plain(t.Context(), c.newCall()); err != nil {
			t.Error(err)
		} else if err := c.verify(pid, c.name()); err != nil {
			t.Error(err)
		}
		c.hangUp()
	}
	all.g.stop()
}

// leaveNothing expects that no lock and no session of a caller is left.
func (c *callers) leaveNothing(server *localpg.Server) {
	c.t.Helper()
	for what, sql := range map[string]string{
		"the locks to go":    "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory'",
		"the sessions to go": "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'caller'",
	} {
		c.g.eventually(what, func() bool { return query[int](c.t, server.ConnInfo(), sql) == 0 })
	}
}

// disturb ends something that answers calls, again and again.
func (c *callers) disturb(random *rand.Rand, stop chan struct{}) {
	for {
		pause := time.NewTimer(time.Duration(200+random.IntN(500)) * time.Millisecond)
		select {
		case <-stop:
			pause.Stop()
			return
		case <-pause.C:
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), limit)
		err := c.disturbOnce(ctx, random.IntN(10))
		cancel()
		if err != nil {
			c.t.Error(err)
			return
		}
	}
}

func (c *callers) disturbOnce(ctx context.Context, what int) error {
	switch {
	case what == 0 && c.restart:
		return c.g.server.Restart(ctx)
	case what <= 3:
		for _, child := range c.g.children() {
			if strings.HasSuffix(processTitle(child), ": gateway") {
				return unix.Kill(child, unix.SIGKILL)
			}
		}
		return nil // the next one has not been started yet
	}
	conn, err := pgx.Connect(ctx, c.g.server.ConnInfo())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgexthost gateway'")
	return err
}

// work makes the calls of one caller.
func (c *caller) work() {
	defer c.hangUp()
	ways := []func(ctx context.Context, call string) (pid int, err error){
		c.plain, c.plain, c.timedOut, c.cancelled, c.caught, c.fetched, c.copied, c.pipelined, c.abandoned, c.seen,
	}
	for range c.rounds {
		way := c.random.IntN(len(ways))
		if err := c.round(ways[way]); err != nil {
			c.t.Errorf("call %s, way %d: %v", c.name(), way, err)
			return
		}
	}
}

// round makes one call. An error is one that there must not be.
func (c *caller) round(way func(context.Context, string) (int, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if c.made%8 == 0 {
		c.sweep()
	}
	crashes := c.crashes()
	if err := c.ready(ctx); err != nil {
		return err
	}
	pid, err := way(ctx, c.newCall())
	told, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil && pid > 0:
		c.answered.Add(1)
		if err := c.verify(pid, c.name()); err != nil && c.crashes() == crashes {
			return err
		}
	case err == nil:
		c.answered.Add(1)
	case ctx.Err() != nil:
		return fmt.Errorf("stuck: %w", err)
	case ok && told.Code == "57014":
		c.ended.Add(1)
	case !ok || told.Severity == "FATAL" || strings.HasPrefix(told.Code, "08"):
		c.lost.Add(1)
		c.hangUp()
	default:
		return err
	}
	return nil
}

// crashes says how often the host has started anew all that it runs.
func (c *caller) crashes() int { return c.g.count("terminating any other active server processes") }

// ready sees to it that there is a session, outside any transaction.
func (c *caller) ready(ctx context.Context) error {
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for {
		if c.conn != nil {
			if _, err := c.conn.Exec(ctx, "ROLLBACK"); err == nil {
				return nil
			}
			c.hangUp()
		}
		conn, err := pgx.Connect(ctx, c.g.conninfo(c.database)+" application_name=caller")
		if err == nil {
			c.conn = conn
			continue
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("no session: %w", err)
		}
	}
}

func (c *caller) hangUp() {
	if c.conn != nil {
		_ = c.conn.PgConn().Conn().Close()
		c.conn = nil
	}
}

// name is that of the worker of the last call.
func (c *caller) name() string { return fmt.Sprintf("caller %d.%d.", c.id, c.made) }

// newCall is an expression that launches a worker, and is its pid.
func (c *caller) newCall() string {
	c.made++
	return fmt.Sprintf("pgexthost.launch_now('faults', 'wait', name => '%s', start_time => 'postmaster')", c.name())
}

// verify expects a worker to be that process, which it ends. A process that has just
// been started may not have its title yet.
func (c *caller) verify(pid int, name string) error {
	title := processTitle(pid)
	for until := time.Now().Add(limit); title == "" && !isGone(pid) && time.Now().Before(until); title = processTitle(pid) {
		runtime.Gosched()
	}
	if !strings.Contains(title, name) {
		return fmt.Errorf("process %d is %q, and not the worker %q", pid, title, name)
	}
	return unix.Kill(pid, unix.SIGTERM)
}

// sweep ends this caller's workers of which he was not told.
func (c *caller) sweep() {
	for _, child := range c.g.children() {
		if strings.Contains(processTitle(child), fmt.Sprintf("caller %d.", c.id)) {
			_ = unix.Kill(child, unix.SIGTERM)
		}
	}
}

// pidOf returns the only value of a query's, 0 for NULL.
func (c *caller) pidOf(ctx context.Context, sql string) (int, error) {
	var pid *int
	err := c.conn.QueryRow(ctx, sql).Scan(&pid)
	if err != nil || pid == nil {
		return 0, err
	}
	return *pid, nil
}

func (c *caller) plain(ctx context.Context, call string) (int, error) {
	if err := c.ready(ctx); err != nil {
		return 0, err
	}
	return c.pidOf(ctx, "SELECT "+call)
}

func (c *caller) timedOut(ctx context.Context, call string) (int, error) {
	if _, err := c.conn.Exec(ctx, fmt.Sprintf("BEGIN; SET LOCAL statement_timeout = %d", 1+c.random.IntN(15))); err != nil {
		return 0, err
	}
	return c.pidOf(ctx, "SELECT "+call)
}

// amid does something at some moment of what is done next. The function it returns
// waits until that is over.
func (c *caller) amid(do func()) (over func()) {
	done := make(chan struct{})
	timer := time.AfterFunc(time.Duration(c.random.IntN(6000))*time.Microsecond, func() {
		defer close(done)
		do()
	})
	return func() {
		if !timer.Stop() {
			<-done
		}
	}
}

func (c *caller) cancelled(ctx context.Context, call string) (int, error) {
	defer c.amid(func() { _ = c.conn.PgConn().CancelRequest(ctx) })()
	return c.pidOf(ctx, "SELECT "+call)
}

// caught is a call whose end is caught, and which is made again then.
func (c *caller) caught(ctx context.Context, call string) (int, error) {
	over := c.amid(func() { _ = c.conn.PgConn().CancelRequest(ctx) })
	_, err := c.conn.Exec(ctx, fmt.Sprintf(`DO $$ DECLARE pid int; BEGIN
		BEGIN pid := %s; EXCEPTION WHEN query_canceled THEN pid := %[1]s; END;
		PERFORM set_config('test.pid', coalesce(pid, 0)::text, false); END $$`, call))
	over()
	if err != nil {
		return 0, err
	}
	return c.pidOf(ctx, "SELECT current_setting('test.pid')::int")
}

// fetched is a call in a cursor, in a transaction that may not write.
func (c *caller) fetched(ctx context.Context, call string) (int, error) {
	if _, err := c.conn.Exec(ctx, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; DECLARE c CURSOR FOR SELECT "+call); err != nil {
		return 0, err
	}
	return c.pidOf(ctx, "FETCH c")
}

func (c *caller) copied(ctx context.Context, call string) (int, error) {
	var out bytes.Buffer
	if _, err := c.conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT coalesce("+call+", 0)) TO STDOUT"); err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out.String()))
}

// pipelined is a call between others, of which the last fails.
func (c *caller) pipelined(ctx context.Context, call string) (int, error) {
	batch := &pgx.Batch{}
	batch.Queue("SELECT 1")
	batch.Queue("SELECT coalesce(" + call + ", 0)")
	batch.Queue("SELECT 1/($1::int - 1)", 1)
	results := c.conn.SendBatch(ctx, batch)
	defer results.Close()
	var one, pid, never int
	if err := errors.Join(results.QueryRow().Scan(&one), results.QueryRow().Scan(&pid)); err != nil {
		return 0, err
	}
	err := results.QueryRow().Scan(&never)
	if stateOf(err) == "22012" {
		err = nil
	}
	return pid, err
}

// abandoned is a call whose client leaves.
func (c *caller) abandoned(ctx context.Context, call string) (int, error) {
	defer c.amid(func() { _ = c.conn.PgConn().Conn().Close() })()
	return c.pidOf(ctx, "SELECT "+call)
}

// seen is a look at all sessions, within a transaction.
func (c *caller) seen(ctx context.Context, _ string) (int, error) {
	if _, err := c.conn.Exec(ctx, "BEGIN"); err != nil {
		return 0, err
	}
	n, err := c.pidOf(ctx, "SELECT count(*)::int FROM pg_stat_activity WHERE pid = pg_backend_pid()")
	if err == nil && n != 1 {
		err = &pgconn.PgError{Code: "XX000", Message: fmt.Sprintf("the session is there %d times", n)}
	}
	return 0, err
}
