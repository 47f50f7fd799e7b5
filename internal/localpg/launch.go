package localpg

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	portAttempts = 5
	// noSocket is what postgres says, in the C locale, when the port is taken.
	noSocket = "could not create any TCP/IP sockets"
)

// initdb makes a new database cluster in the empty directory dataDir.
func initdb(ctx context.Context, prog programs, acct account, dataDir string, log *serverLog) error {
	cmd := exec.Command(filepath.Join(prog.bin, "initdb"),
		"--pgdata="+dataDir, "--username="+superuser, "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	// Not where we are: the server's user may be unable to be there.
	cmd.Dir = dataDir
	cmd.Env = prog.env
	cmd.Stdout, cmd.Stderr = log.file, log.file
	return run(ctx, cmd, acct.credential())
}

// launchAnywhere launches the server for the first time. A TCP port that looks
// free may be taken by the time postgres gets there; then another one will do.
func (s *Server) launchAnywhere(ctx context.Context) error {
	if !s.opts.TCP {
		return s.launch(ctx)
	}
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return s.startError("postgres", s.log.size(), err)
		}
		s.port = port
		mark := s.log.size()
		err = s.launch(ctx)
		if err == nil || attempt == portAttempts || !strings.Contains(s.log.from(mark), noSocket) {
			return err
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("free TCP port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// launch starts the postmaster and waits until it accepts connections. If it
// does not, no process of it is left.
func (s *Server) launch(ctx context.Context) error {
	mark := s.log.size()
	if err := context.Cause(ctx); err != nil {
		return s.startError("postgres", mark, err)
	}
	cmd := exec.Command(filepath.Join(s.program.bin, "postgres"), s.arguments()...)
	cmd.Dir = s.DataDir()
	cmd.Env = s.program.env
	cmd.Stdout, cmd.Stderr = s.log.file, s.log.file
	// SIGQUIT is an immediate shutdown, which ends the backends too and removes
	// the shared memory, as SIGKILL would not.
	p, err := startProcess(cmd, s.acct.credential(), unix.SIGQUIT)
	if err != nil {
		return s.startError("postgres", mark, err)
	}
	s.setProcess(p)
	if err := awaitReady(ctx, p, s.socket()); err != nil {
		if kerr := p.kill(); kerr != nil {
			err = fmt.Errorf("%w; %w", err, kerr)
		}
		return s.startError("postgres", mark, err)
	}
	return nil
}

// arguments of the postmaster. Of two equal settings the later one counts.
func (s *Server) arguments() []string {
	listen := ""
	if s.opts.TCP {
		listen = "127.0.0.1"
	}
	settings := []string{
		// Quick, because nothing has to survive the machine. Commits stay
		// synchronous: a killed postmaster must not lose any.
		"fsync=off",
		"full_page_writes=off",
		"shared_buffers=32MB",
		"jit=off",
		// In the data directory, so that they are deleted with it.
		"dynamic_shared_memory_type=mmap",
	}
	settings = append(settings, s.opts.Settings...)
	settings = append(settings,
		"unix_socket_directories="+quoteListItem(s.dir.path),
		"listen_addresses="+listen,
		"port="+strconv.Itoa(s.port),
		"hba_file="+filepath.Join(s.dir.path, hbaName),
	)
	args := []string{"-D", s.DataDir()}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return args
}

// quoteListItem quotes a directory for a setting that is a list of them.
func quoteListItem(dir string) string {
	return `"` + strings.ReplaceAll(dir, `"`, `""`) + `"`
}

func (s *Server) socket() string {
	return filepath.Join(s.dir.path, ".s.PGSQL."+strconv.Itoa(s.port))
}
