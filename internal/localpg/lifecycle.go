package localpg

import (
	"context"
	"os"
)

// Stop shuts the server down and deletes its directory: fast shutdown
// (SIGINT), an immediate one (SIGQUIT) when ctx ends, SIGKILL 7 s later. It
// returns nil once everything is gone, also if that took force, and an error
// if a process or a file could not be got rid of. Calling it again does
// nothing. Log keeps working.
func (s *Server) Stop(ctx context.Context) error {
	s.change.Lock()
	defer s.change.Unlock()
	if s.removed {
		return nil
	}
	if err := s.process().stop(ctx); err != nil {
		return err
	}
	err := s.discard()
	sweep(s.root())
	return err
}

// StopServer shuts the server down as Stop does and keeps its directory for
// Restart. It does nothing if the server is down.
func (s *Server) StopServer(ctx context.Context) error {
	s.change.Lock()
	defer s.change.Unlock()
	if s.removed {
		return ErrRemoved
	}
	return s.process().stop(ctx)
}

// Restart starts the server again, on the same data directory, socket and
// port, and returns once it accepts connections. If it still runs it is shut
// down first as by StopServer. ctx bounds the whole; without a deadline it is
// 60 s. After an error, a [*StartError], the server is down.
func (s *Server) Restart(ctx context.Context) error {
	s.change.Lock()
	defer s.change.Unlock()
	if s.removed {
		return ErrRemoved
	}
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	if err := s.process().stop(ctx); err != nil {
		return err
	}
	return s.launch(ctx)
}

// Crash kills the postmaster and all its children with SIGKILL, and returns
// when they are gone. The next Restart recovers. It does nothing if the server
// is down.
func (s *Server) Crash() error {
	s.change.Lock()
	defer s.change.Unlock()
	if s.removed {
		return ErrRemoved
	}
	return s.process().kill()
}

// Kill sends a signal to the postmaster and returns at once, with
// os.ErrProcessDone if there is none. After SIGKILL its backends end on their
// own, soon after Done is closed; Restart and Stop wait for them.
func (s *Server) Kill(sig os.Signal) error {
	return s.process().signal(sig)
}

// Done is closed when the current postmaster has ended, for whatever reason.
// Restart makes a new channel.
func (s *Server) Done() <-chan struct{} {
	return s.process().exited
}
