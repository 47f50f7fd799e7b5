package shmem

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
)

// PMSignal is a reason for a child to wake the postmaster. Mirrors
// PMSignalReason.
type PMSignal int

// The reasons.
const (
	PMSignalBackgroundWorkerChange PMSignal = iota // a slot was registered or shall terminate
	PMSignalServerState                            // the monitor has news of the real server
	PMSignalLibraryReload                          // a library is to be loaded again
	PMSignalPing                                   // somebody wants to know whether it is there
	PMSignalSessionsEnded                          // the last client of the gateway has left
	numPMSignals
)

// Alarm is the descriptor that wakes the postmaster: an eventfd, because it
// polls, works across users and is no signal.
//
// The postmaster alone polls it. In a child it is a bare number and no
// [os.File], since that would put it into the poller of the child's runtime, and
// everybody who polls a descriptor is woken whenever anybody rings.
type Alarm struct {
	file    *os.File // the postmaster's
	closing atomic.Bool

	mu sync.Mutex
	fd int // a child's; closed: -1
}

// NewAlarm makes the alarm. Only the postmaster calls it.
func NewAlarm() (*Alarm, error) {
	file, err := newEvent()
	if err != nil {
		return nil, err
	}
	return &Alarm{file: file}, nil
}

// InheritAlarm wraps the descriptor that a child got from the postmaster. The
// descriptor is the alarm's from then on. The alarm can be rung and closed, no
// more.
func InheritAlarm(fd int) *Alarm { return &Alarm{fd: fd} }

// File returns the postmaster's descriptor, to be inherited by children.
func (a *Alarm) File() *os.File { return a.file }

// Ring wakes the postmaster. It never blocks: a counter that is full has woken
// it already.
func (a *Alarm) Ring() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	if a.file == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		_, _ = unix.Write(a.fd, one[:]) // of a closed one nobody wants to know
		return
	}
	raw, err := a.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _, _ = unix.Write(int(fd), one[:]) })
}

// Wait blocks until somebody has rung since the last Wait. It returns io.EOF
// or os.ErrClosed once the alarm is closed. Only the postmaster calls it.
func (a *Alarm) Wait() error {
	if a.closing.Load() {
		return os.ErrClosed
	}
	var count [8]byte
	_, err := io.ReadFull(a.file, count[:])
	return err
}

// Close closes the descriptor and ends a Wait. The postmaster calls it when its
// children are gone: one of them may have made the descriptor, which they share,
// a blocking one, and a Wait that sleeps in read has to be woken.
func (a *Alarm) Close() error {
	if a.file != nil {
		a.closing.Store(true)
		if raw, err := a.file.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.SetNonblock(int(fd), true) })
		}
		a.Ring()
		return a.file.Close()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	fd := a.fd
	a.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

// SendPostmasterSignal notes the reason and wakes the postmaster.
func (s *Segment) SendPostmasterSignal(a *Alarm, reason PMSignal) {
	s.head.pmSignals[reason].Store(1)
	failpoint.Here(failpoint.ReasonLeft)
	a.Ring()
	failpoint.Here(failpoint.AlarmRung)
}

// TakePostmasterSignal reports whether the reason was noted, and clears it.
// Mirrors CheckPostmasterSignal.
func (s *Segment) TakePostmasterSignal(reason PMSignal) bool {
	return s.head.pmSignals[reason].Swap(0) != 0
}

// ServerState is what the monitor has found out about the real server.
type ServerState uint32

// The states.
const (
	ServerUnreachable ServerState = iota // no answer, or one that makes no session possible
	ServerStarting                       // it answers "the database system is starting up"
	ServerStandby                        // sessions work, in recovery
	ServerReadWrite                      // sessions work, recovery is finished
	numServerStates
)

// String returns the state in words.
func (s ServerState) String() string {
	switch s {
	case ServerUnreachable:
		return "unreachable"
	case ServerStarting:
		return "starting"
	case ServerStandby:
		return "standby"
	case ServerReadWrite:
		return "read-write"
	case numServerStates:
	}
	return "unknown"
}

// ErrServerState says that the state in shared memory is none.
var ErrServerState = errors.New("shared memory holds no valid server state")

// SetServerState publishes the server's state and, where it is known, the time
// it was started. Only the monitor calls it; it wakes the postmaster itself.
func (s *Segment) SetServerState(a *Alarm, state ServerState, started time.Time) {
	if !started.IsZero() {
		s.head.serverStarted.Store(started.UnixMicro())
	}
	s.head.serverState.Store(uint32(state))
	s.SendPostmasterSignal(a, PMSignalServerState)
}

// ServerState returns what the monitor published last. The time is zero until
// the server was reached once. It returns ErrServerState if the memory holds
// something else.
func (s *Segment) ServerState() (ServerState, time.Time, error) {
	state := ServerState(s.head.serverState.Load())
	if state >= numServerStates {
		return ServerUnreachable, time.Time{}, ErrServerState
	}
	return state, fromMicros(s.head.serverStarted.Load()), nil
}

// SetServerNews publishes why the server cannot be used, or "" if it can, for
// those who ask why a worker does not start. Only the monitor calls it.
func (s *Segment) SetServerNews(text string) {
	n := &s.head.serverNews
	beginChange(&n.changeCount)
	putString(n.text[:], text)
	n.changeCount.Add(1)
}

// ServerNews returns what SetServerNews has published last.
func (s *Segment) ServerNews() (text string) {
	n := &s.head.serverNews
	for range readAttempts {
		count := n.changeCount.Load()
		text = safeString(n.text[:])
		if count&1 == 0 && n.changeCount.CompareAndSwap(count, count) {
			break
		}
	}
	return text
}
