//go:build linux

package integration

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/plugins"
)

// Real servers that are promoted, restarted, broken and full.

// serverWith is ownServer with options.
func serverWith(t *testing.T, o localpg.Options) *localpg.Server {
	t.Helper()
	needsOwnServer(t)
	server, err := localpg.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

// standbyOf makes a streaming standby.
func standbyOf(t *testing.T, primary *localpg.Server) *localpg.Server {
	t.Helper()
	backup := primary.Binaries().Program("pg_basebackup")
	if backup == "" {
		t.Skip("no pg_basebackup")
	}
	return serverWith(t, localpg.Options{Populate: func(ctx context.Context, dir string) error {
		out, err := exec.CommandContext(ctx, backup, "-D", dir, "-d", primary.ConnInfo(), "-c", "fast", "-R", "-X", "stream").CombinedOutput()
		if len(out) > 0 {
			t.Logf("%s", out)
		}
		return err
	}})
}

func TestStartTimesFollowAStandbyAndItsPromotion(t *testing.T) {
	t.Parallel()
	primary := serverWith(t, localpg.Options{Settings: []string{"wal_level=replica", "max_wal_senders=4"}})
	standby := standbyOf(t, primary)
	reader := sessionWorker("reads the standby")
	reader.StartTime = plugins.StartAtConsistentState
	h := startHost(t, withServer(standby.ConnInfo()), withWorkers(
		plugins.BackgroundWorker{Name: "at recovery finished", FunctionName: "wait", StartTime: plugins.StartAtRecoveryFinished},
		plugins.BackgroundWorker{Name: "at consistent state", FunctionName: "wait", StartTime: plugins.StartAtConsistentState},
		reader,
	))
	h.waitLog(`LOG:  server is accepting read-only connections$`)
	h.waitLog(`LOG:  at consistent state waits$`)
	h.waitLog(`LOG:  reads the standby sleeps in the server$`)
	before := []int{h.workerPid("at consistent state"), h.workerPid("reads the standby")}
	if n := h.count(`starting background worker process "at recovery finished"$`); n != 0 {
		t.Fatal("a worker was started before the recovery was finished")
	}
	execSQL(t, standby.ConnInfo(), "SELECT pg_promote()")
	h.waitLog(`LOG:  server is accepting read-write connections$`)
	h.waitLog(`LOG:  at recovery finished waits$`)
	// Workers are never stopped because of a state change.
	if after := []int{h.workerPid("at consistent state"), h.workerPid("reads the standby")}; after[0] != before[0] || after[1] != before[1] {
		t.Errorf("the workers had pids %v, and now %v", before, after)
	}
	h.stop()
}

// SPEC §5: what a restart of the server, and what its crash, make of workers
// that have lost their sessions: static and dynamic ones, with a restart time of
// an hour, or none.
func TestWorkersAfterTheLossOfTheirServer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		harm     func(ctx context.Context, s *localpg.Server) error
		survives bool // static never-restart workers start again
	}{
		"fast restart":      {restart, true},
		"immediate restart": {restartImmediately, true},
		"kill of all":       {killAll, true},
		"crash of one":      {crashBackend, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := ownServer(t)
			again := sessionWorker("static, again")
			again.RestartTime = 3600
			h := startHost(t, withServer(server.ConnInfo()), withWorkers(
				again, sessionWorker("static, once"),
				plugins.BackgroundWorker{Name: "claimer", FunctionName: "claim_sessions", StartTime: plugins.StartAtRecoveryFinished},
			))
			all := []string{"static, again", "static, once", "dynamic, again", "dynamic, once"}
			for _, name := range all {
				h.waitLog(`LOG:  ` + name + ` sleeps in the server$`)
			}
			if err := tt.harm(t.Context(), server); err != nil {
				t.Fatal(err)
			}
			forgotten := map[string]bool{"dynamic, once": true, "static, once": !tt.survives}
			for _, name := range all {
				if forgotten[name] {
					h.waitLog(`DEBUG:  unregistering background worker "` + name + `"$`)
				} else {
					h.waitLogCount(`LOG:  `+name+` sleeps in the server$`, 2)
				}
			}
			claimer := h.workerPid("claimer") // it had no session to lose
			h.stop()
			for _, name := range all {
				if n := h.count(`starting background worker process "` + name + `"$`); forgotten[name] && n != 1 || !forgotten[name] && n != 2 {
					t.Errorf("%s was started %d times", name, n)
				}
			}
			if claimer == 0 || h.count(`starting background worker process "claimer"$`) != 1 {
				t.Error("a worker without a session was started again")
			}
		})
	}
}

func restart(ctx context.Context, s *localpg.Server) error { return s.Restart(ctx) }

func restartImmediately(ctx context.Context, s *localpg.Server) error {
	if err := s.Kill(syscall.SIGQUIT); err != nil {
		return err
	}
	<-s.Done()
	return s.Restart(ctx)
}

func killAll(ctx context.Context, s *localpg.Server) error {
	if err := s.Crash(); err != nil {
		return err
	}
	return s.Restart(ctx)
}

// crashBackend kills one session's process; the server's postmaster stays, and
// restarts all the others.
func crashBackend(ctx context.Context, s *localpg.Server) error {
	conn, err := pgx.Connect(ctx, s.ConnInfo())
	if err != nil {
		return err
	}
	return syscall.Kill(int(conn.PgConn().PID()), syscall.SIGKILL)
}

// SPEC §5: the loss of the monitor's session alone changes nothing for workers.
func TestATerminatedMonitorSessionStopsNoWorker(t *testing.T) {
	t.Parallel()
	conninfo := newDatabase(t, "watched")
	h := startHost(t, withServer(conninfo), withWorkers(
		sessionWorker("with a session"),
		plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait", StartTime: plugins.StartAtRecoveryFinished},
	))
	h.waitLog(`LOG:  with a session sleeps in the server$`)
	h.waitLog(`LOG:  bystander waits$`)
	for i := range 3 {
		h.waitLogCount(`LOG:  server is accepting read-write connections$`, i+1)
		if n := query[int](t, conninfo, `SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity
			WHERE datname = 'watched' AND application_name = 'pgexthost server monitor'`); n != 1 {
			t.Fatalf("%d sessions of the monitor", n)
		}
		h.waitLogCount(`LOG:  lost connection to the server: terminating connection due to administrator command$`, i+1)
	}
	h.waitLogCount(`LOG:  server is accepting read-write connections$`, 4)
	h.stop()
	if n := h.count(`starting background worker process`); n != 2 {
		t.Errorf("workers were started %d times", n)
	}
}

// What a person has to mend is said once, in the server's words, and found
// mended.
func TestAServerThatRefusesTheMonitorSaysWhyOnce(t *testing.T) {
	t.Parallel()
	server := serverWith(t, localpg.Options{HBA: []string{"local all alice scram-sha-256", "local all mallory reject"}})
	execSQL(t, server.ConnInfo(), "CREATE ROLE alice LOGIN PASSWORD 'right'")
	for name, tt := range map[string]struct{ params, says, mend string }{
		"28P01": {" user=alice password=wrong", `password authentication failed for user "alice"`, "ALTER ROLE alice PASSWORD 'wrong'"},
		"28000": {" user=mallory", `pg_hba.conf rejects connection for host "[local]", user "mallory", database "postgres", no encryption`, ""},
		"role":  {" user=bob", `role "bob" does not exist`, "CREATE ROLE bob LOGIN"},
		"3D000": {" dbname=atlantis", `database "atlantis" does not exist`, "CREATE DATABASE atlantis"},
		"55000": {" dbname=template0", `database "template0" is not currently accepting connections`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, withServer(server.ConnInfo()+tt.params), withWorkers(sessionWorker("with a session")))
			h.waitLog(`LOG:  cannot connect to the server: `)
			h.look()
			if tt.mend != "" {
				execSQL(t, server.ConnInfo(), tt.mend)
				h.look()
				h.waitLog(`LOG:  server is accepting read-write connections$`)
				h.waitLog(`LOG:  with a session sleeps in the server$`)
			}
			h.stop()
			lines := 0
			for _, line := range h.logLines() {
				if strings.HasSuffix(line, "LOG:  cannot connect to the server: "+tt.says) {
					lines++
				}
			}
			if lines != 1 || h.count(`cannot connect to the server`) != 1 {
				t.Errorf("it was said %d times", lines)
			}
			if n := h.count(`starting background worker process`); tt.mend == "" && n != 0 {
				t.Errorf("%d workers were started", n)
			}
		})
	}
}

func TestAFullServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := serverWith(t, localpg.Options{Settings: []string{"max_connections=4", "superuser_reserved_connections=1", "max_wal_senders=0"}})
	execSQL(t, server.ConnInfo(), "CREATE ROLE alice LOGIN")
	for _, tt := range []struct {
		user, says string
		taken      int
	}{
		{"alice", `remaining connection slots are reserved for .*`, 3},
		{"postgres", `sorry, too many clients already`, 4},
	} {
		taken := takeSessions(t, server, tt.taken)
		h := startHost(t, withServer(server.ConnInfo()+" user="+tt.user), withWorkers(
			plugins.BackgroundWorker{Name: "waiting", FunctionName: "wait", StartTime: plugins.StartAtRecoveryFinished},
		))
		h.waitLog(`LOG:  waiting for the server: ` + tt.says + `$`)
		h.look()
		if n := h.count(`LOG:  waiting waits$`); n != 0 {
			t.Error("the worker was started")
		}
		for _, conn := range taken {
			if err := conn.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		h.waitLog(`LOG:  waiting waits$`)
		h.stop()
		if n := h.count(`LOG:  waiting for the server`); n != 1 {
			t.Errorf("it was said %d times", n)
		}
	}
}

// takeSessions opens sessions, as soon as others make room.
func takeSessions(t *testing.T, server *localpg.Server, n int) []*pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var taken []*pgx.Conn
	for len(taken) < n {
		conn, err := pgx.Connect(ctx, server.ConnInfo())
		switch {
		case err == nil:
			taken = append(taken, conn)
		case ctx.Err() != nil:
			t.Fatal(err)
		}
	}
	return taken
}
