package localpg

import (
	"fmt"
	"path/filepath"
	"strings"
)

// ConnInfo returns a connection string for the unix socket, in libpq's
// keyword/value form, as superuser to the database postgres. It is valid for
// the server's whole life, restarts included.
func (s *Server) ConnInfo() string {
	return s.connInfo(s.dir.path)
}

// ConnInfoTCP is ConnInfo for 127.0.0.1, or "" without Options.TCP.
func (s *Server) ConnInfoTCP() string {
	if !s.opts.TCP {
		return ""
	}
	return s.connInfo("127.0.0.1")
}

func (s *Server) connInfo(host string) string {
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s", quoteConnValue(host), s.port, superuser, superuser)
}

// Dir returns the absolute path of the server's directory, which holds the
// socket, the data directory and pg_hba.conf. It is deleted by Stop.
func (s *Server) Dir() string { return s.dir.path }

// DataDir returns the absolute path of the data directory.
func (s *Server) DataDir() string { return filepath.Join(s.dir.path, dataName) }

// Port returns the port number in the socket's name, and of TCP if that is on.
func (s *Server) Port() int { return s.port }

// Pid returns the process id of the current postmaster, or of the last one.
func (s *Server) Pid() int { return s.process().cmd.Process.Pid }

// Version returns the server's version, such as "15.14".
func (s *Server) Version() string { return s.bins.Version }

// Binaries returns the installation the server was started from.
func (s *Server) Binaries() Binaries { return s.bins }

// Log returns everything that initdb and the server have logged so far, over
// all restarts. It works after Stop as well.
func (s *Server) Log() string { return s.log.from(0) }

func (s *Server) root() string { return filepath.Dir(s.dir.path) }

func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *Server) setProcess(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc = p
}

// quoteConnValue quotes a value of a connection string where that is needed.
func quoteConnValue(value string) string {
	if value != "" && !strings.ContainsAny(value, " '\\\t\n\r\f\v") {
		return value
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}
