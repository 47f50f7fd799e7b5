package gateway

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// lookAhead bounds what is kept for a client that does not read. The server is read
// that far all the same, since the call of a function may be behind: without an
// answer to that, a client that only writes for the moment would never read again.
const lookAhead = 1 << 20

// sink is a client's connection whose Write does not wait for the client, until
// lookAhead bytes are waiting. Below TLS, it serves that as well.
type sink struct {
	net.Conn
	raw syscall.RawConn

	mu       sync.Mutex
	room     sync.Cond // there is room again, or an error
	waiting  []byte
	draining bool // a goroutine writes what is waiting
	err      error

	// What tryWrite and the kernel tell each other.
	attempt []byte
	written int
	failure error
	try     func(fd uintptr) bool
}

type rawConn interface {
	net.Conn
	syscall.Conn
}

func newSink(conn rawConn) (*sink, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &sink{Conn: conn, raw: raw}
	s.room.L = &s.mu
	s.try = func(fd uintptr) bool {
		s.written, s.failure = unix.Write(int(fd), s.attempt)
		return true // never wait
	}
	return s, nil
}

// Write takes all of data, or fails. An error may be that of an earlier call.
func (s *sink) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := data
	if s.err == nil && !s.draining {
		left = s.tryWrite(data)
	}
	for s.err == nil && len(left) > 0 && len(s.waiting) >= lookAhead {
		s.room.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	if len(left) > 0 {
		s.waiting = append(s.waiting, left...)
		if !s.draining {
			s.draining = true
			go s.drain()
		}
	}
	return len(data), nil
}

// tryWrite writes what the kernel takes at once, and returns the rest.
func (s *sink) tryWrite(data []byte) []byte {
	s.attempt, s.written, s.failure = data, 0, nil
	err := s.raw.Write(s.try)
	s.attempt = nil
	switch {
	case err != nil:
		s.err = err
	case errors.Is(s.failure, unix.EAGAIN), errors.Is(s.failure, unix.EINTR):
		return data
	case s.failure != nil:
		s.err = s.failure
	}
	return data[max(s.written, 0):]
}

// drain writes what is waiting, until there is no more.
func (s *sink) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var spare []byte
	for s.err == nil && len(s.waiting) > 0 {
		batch := s.waiting
		s.waiting = spare[:0]
		s.room.Broadcast()
		s.mu.Unlock()
		_, err := s.Conn.Write(batch)
		s.mu.Lock()
		if err != nil {
			s.err = err
		}
		spare = batch
	}
	s.waiting, s.draining = nil, false
	s.room.Broadcast()
}

// finish waits until the client has got all that was written for it, or can't.
func (s *sink) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.draining && s.err == nil {
		s.room.Wait()
	}
}
