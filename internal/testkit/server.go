package testkit

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// Server is the private server that the tests of a package share. The first of them
// that asks for it starts it; TestMain stops it, with Stop. Safe for concurrent use.
type Server struct {
	// Options are how it is made.
	Options localpg.Options
	// Setup is SQL that the superuser runs when it has started: the roles, say.
	Setup string

	start     sync.Once
	running   *localpg.Server
	err       error
	databases atomic.Int32 // that there were
}

// Start starts a server for one test alone, at whose end it stops.
func Start(t TB, options localpg.Options, setup string) *localpg.Server {
	t.Helper()
	s := &Server{Options: options, Setup: setup}
	t.Cleanup(func() { Check(t, s.stop()) })
	return s.Running(t)
}

// Running returns the server, and starts it if nobody has.
func (s *Server) Running(t TB) *localpg.Server {
	t.Helper()
	s.start.Do(func() { s.running, s.err = start(s.Options, s.Setup) })
	Check(t, s.err)
	return s.running
}

// Stop stops the server, if somebody has asked for it. Whether it can be stopped is
// for the tests of localpg to say.
func (s *Server) Stop() { _ = s.stop() }

func (s *Server) stop() error {
	s.start.Do(func() { s.err = errors.New("the tests are over") })
	if s.running == nil {
		return nil
	}
	return s.running.Stop(context.Background())
}

func start(options localpg.Options, setup string) (*localpg.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	s, err := localpg.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := execute(ctx, s, setup); err != nil {
		return nil, errors.Join(err, s.Stop(ctx))
	}
	return s, nil
}

// execute runs a script in a session of its own.
func execute(ctx context.Context, s *localpg.Server, script string) error {
	conn, err := pgconn.Connect(ctx, s.ConnInfo())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, script).ReadAll(); err != nil {
		return fmt.Errorf("%s: %w", script, err)
	}
	return nil
}

// Exec runs a script as the superuser in database postgres.
func (s *Server) Exec(t TB, script string) {
	t.Helper()
	Check(t, execute(Context(t), s.Running(t), script))
}

// NewDatabase makes a database of a role and returns its name. The test's end drops
// it, whoever is still connected.
func (s *Server) NewDatabase(t TB, owner string) string {
	t.Helper()
	name := fmt.Sprintf("db%d", s.databases.Add(1))
	s.Exec(t, "CREATE DATABASE "+name+" OWNER "+pgx.Identifier{owner}.Sanitize())
	t.Cleanup(func() { s.Exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return name
}

// Conninfo returns how a role gets to a database.
func (s *Server) Conninfo(t TB, database, user string) string {
	t.Helper()
	value := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	return fmt.Sprintf("%s dbname='%s' user='%s'", s.Running(t).ConnInfo(), value.Replace(database), value.Replace(user))
}

// Program runs one of the server's programs to its end, which must be a good one. It
// skips the test if the installation does not have it.
func (s *Server) Program(t TB, stdin, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	path := s.Running(t).Binaries().Program(name)
	if path == "" {
		t.Skipf("this installation has no %s", name)
	}
	cmd := exec.CommandContext(Context(t), path, args...)
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, errs.String())
	}
	return out.String(), errs.String()
}
