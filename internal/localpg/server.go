package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	superuser   = "postgres"
	defaultPort = 5432

	dataName = "data"
	logName  = "log"
	hbaName  = "pg_hba.conf"

	// defaultTimeout applies to Start, Restart and NewTemplate when their
	// context has no deadline.
	defaultTimeout = 60 * time.Second
)

// Options say how a private server is made. The zero value is good for most.
type Options struct {
	// BinDir is the directory of the server's programs; empty searches, see Find.
	BinDir string
	// TempDir is where the server's directory is made; empty means os.TempDir,
	// or /tmp if that is too long for a unix socket or closed to the server's user.
	TempDir string
	// Settings are configuration parameters as "name=value". They take precedence
	// over ALTER SYSTEM and the package's own, but for those that say where the
	// server listens.
	Settings []string
	// HBA are pg_hba.conf lines that come before the package's own, which trust
	// everybody who can reach the server.
	HBA []string
	// TCP also listens on a free port of 127.0.0.1, where every user of the
	// machine can connect as superuser unless HBA lines prevent it.
	TCP bool
	// Populate fills the data directory instead of initdb: from a Template, or
	// with a base backup of another server. The directory exists, is empty and
	// belongs to the server's user, as does afterwards whatever is put there.
	Populate func(ctx context.Context, dataDir string) error
}

// Server is a private PostgreSQL server. All methods are safe for concurrent
// use; those that change its state wait for each other.
type Server struct {
	opts    Options
	bins    Binaries
	acct    account
	dir     *ownedDir
	log     *serverLog
	port    int
	program programs

	change sync.Mutex // held while the state changes; guards removed
	// removed: the directory is gone for good.
	removed bool

	mu   sync.Mutex // guards proc
	proc *process   // the current or last postmaster; never nil after Start
}

// Start makes a server and returns once it accepts connections. ctx bounds the
// start only, not the server's life; without a deadline it is 60 s. On failure
// nothing is left behind; the error is a [*NotFoundError], a [*DirError] or a
// [*StartError], all of which can be shown to a person as they are.
//
// The server is gone with the calling process at the latest; its directory is
// then deleted by the next Start or Stop of any process.
func Start(ctx context.Context, opts Options) (*Server, error) {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	s, err := newServer(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := s.bringUp(ctx); err != nil {
		return nil, errors.Join(err, s.discard())
	}
	return s, nil
}

// newServer makes the server's directory. It starts nothing that lasts.
func newServer(ctx context.Context, opts Options) (*Server, error) {
	bins, err := Find(ctx, opts.BinDir)
	if err != nil {
		return nil, err
	}
	acct, err := serverAccount()
	if err != nil {
		return nil, err
	}
	root, err := tempRoot(opts.TempDir, acct)
	if err != nil {
		return nil, err
	}
	sweep(root)
	dir, err := claimDir(root)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, bins: bins, acct: acct, dir: dir, port: defaultPort}
	if err := s.layOut(); err != nil {
		return nil, errors.Join(s.startError("prepare", 0, err), s.discard())
	}
	return s, nil
}

// bringUp fills the directory and starts the postmaster.
func (s *Server) bringUp(ctx context.Context) error {
	if err := s.fill(ctx); err != nil {
		return err
	}
	return s.launchAnywhere(ctx)
}

// layOut makes what the server's directory holds besides data, and hands all
// of it to the server's user.
func (s *Server) layOut() (err error) {
	if s.log, err = createLog(filepath.Join(s.dir.path, logName)); err != nil {
		return err
	}
	if s.program, err = prepare(s.bins, s.dir.path, s.acct); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir.path, hbaName), s.hba(), 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(s.DataDir(), 0o700); err != nil {
		return err
	}
	return s.acct.own(s.dir.path)
}

// fill puts a database cluster into the data directory.
func (s *Server) fill(ctx context.Context) error {
	if s.opts.Populate == nil {
		if err := initdb(ctx, s.program, s.acct, s.DataDir(), s.log); err != nil {
			return s.startError("initdb", 0, err)
		}
		return nil
	}
	err := s.opts.Populate(ctx, s.DataDir())
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = s.acct.own(s.DataDir())
	}
	if err != nil {
		return s.startError("populate", 0, err)
	}
	return nil
}

// discard ends what Start began.
func (s *Server) discard() error {
	s.removed = true
	if s.log != nil {
		s.log.close()
	}
	if err := s.dir.remove(); err != nil {
		return fmt.Errorf("delete private server: %w", err)
	}
	return nil
}

// startError adds the log written since offset.
func (s *Server) startError(stage string, offset int64, err error) error {
	e := &StartError{Stage: stage, Version: s.bins.Version, Err: err}
	if s.log != nil {
		e.LogTail = tail(s.log.from(offset))
	}
	return e
}

// hba lists the lines of the caller before ours: the first match counts.
func (s *Server) hba() []byte {
	lines := append(s.opts.HBA[:len(s.opts.HBA):len(s.opts.HBA)],
		"local all all trust",
		"local replication all trust")
	if s.opts.TCP {
		lines = append(lines,
			"host all all 127.0.0.1/32 trust",
			"host replication all 127.0.0.1/32 trust")
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

func withDefaultTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, defaultTimeout, fmt.Errorf("not done within %v", defaultTimeout))
}
