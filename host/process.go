package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/internal/version"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// process is a child from its start until it has been reaped. The event loop
// owns it; its two goroutines only send events.
type process struct {
	id        postmaster.ChildID
	pid       int
	pidfd     *os.File
	index     int // of its process record
	record    shmem.ProcRecord
	socket    *os.File           // our end of the handshake
	auxiliary string             // its name, if it is an auxiliary process
	preload   bool               // it runs the Init of a library
	library   *handshake.Library // that it was started for, or nil
	shaken    chan struct{}      // closed: the outcome of the handshake has been posted
	answered  bool               // it has shaken hands, so its signal handlers are in place
	held      []unix.Signal      // that wait for the answer
	failure   error              // why the host has put an end to it, if it has
}

// handshakeLimit is how long a child may take to answer, unless loading its
// library may take less, and goneGrace how long
// one may live on that has closed the socket without an answer: usually it is
// dying, and its exit tells more.
const (
	handshakeLimit = 60 * time.Second
	goneGrace      = 5 * time.Second
)

// shakeHands sends the start-up message and checks the answer. With a preload
// child the socket stays open for its result. It runs on a goroutine of its
// own and touches nothing but the socket.
func shakeHands(socket *os.File, startup *handshake.Startup, limit time.Duration) error {
	_ = socket.SetDeadline(time.Now().Add(limit))
	if err := handshake.Write(socket, startup); err != nil {
		return fmt.Errorf("could not send the start-up message: %w", err)
	}
	failpoint.Here(failpoint.StartupSent)
	var hello handshake.Hello
	if err := handshake.Read(socket, &hello); err != nil {
		return fmt.Errorf("could not read the answer to the start-up message: %w", err)
	}
	failpoint.Here(failpoint.HelloRead)
	return judge(hello, startup.Library)
}

// judge says what is wrong with an answer, or nil.
func judge(hello handshake.Hello, lib *handshake.Library) error {
	if hello.Report != nil {
		return notExecuted{hello.Report}
	}
	name := executable
	if lib != nil && lib.File != "" {
		name = lib.Name
	}
	if err := library.CheckVersions(name, hello.Protocol, hello.ABI); err != nil {
		return err
	}
	if hello.LayoutHash != shmem.LayoutHash() {
		return elog.New(elog.Error, elog.InternalError, "incompatible library \"%s\": magic block mismatch", name).
			WithDetail("Server has %s = %d, library has %d.", "shared memory layout", shmem.LayoutHash(), hello.LayoutHash).
			WithHint("Build it again with the version of %s that this host is built from, %s.", handshake.Module, version.Number)
	}
	if hello.Error != "" { // last: a child that does not fit has an error, too, but knows less
		return errors.New(hello.Error)
	}
	return nil
}

// notExecuted is why a program was not executed with its limits.
type notExecuted struct{ *elog.ErrorData }

func (e notExecuted) Unwrap() error { return e.ErrorData }

// refused words the failure of a handshake.
func (p *process) refused(err error) error {
	var limits notExecuted
	if errors.As(err, &limits) {
		return limits.ErrorData
	}
	if p.library == nil || p.library.File == "" {
		return fmt.Errorf("handshake failed: %w", err)
	}
	var report *elog.ErrorData
	if errors.As(err, &report) {
		return report
	}
	e := elog.New(elog.Error, elog.InternalError, "could not load library \"%s\": %v", p.library.Name, err).WithCause(err)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Message = fmt.Sprintf("could not load library \"%s\": it did not answer the host", p.library.Name)
		return e.WithHint("Nothing that takes long may come before plugins.Main in its main function, nor in an init function.")
	case errors.Is(err, handshake.ErrFrame):
		return e.WithHint("Only package plugins may use the descriptors that the host has passed on.")
	}
	return e.WithHint("It has to call plugins.Main first thing in its main function. What it has said itself is in this log.")
}

// isGone reports whether a failed handshake only says that the child closed
// its end.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}

// awaitHandshake waits until the outcome of the handshake has been posted, so
// that the news of the exit comes after it. The end of the process ends the
// handshake, unless another has inherited its end of the socket.
func (p *process) awaitHandshake() {
	if p.preload {
		return // it has a handshake of its own
	}
	select {
	case <-p.shaken:
	case <-time.After(goneGrace):
	}
}

// reap collects the exit status of a process that awaitExit has returned for,
// and the most memory that it has had resident, in bytes.
func reap(pid int) (status postmaster.ExitStatus, resident int64, err error) {
	var ws unix.WaitStatus
	var usage unix.Rusage
	for {
		reaped, err := unix.Wait4(pid, &ws, unix.WNOHANG, &usage)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return status, 0, os.NewSyscallError("wait4", err)
		case reaped != pid:
			return status, 0, fmt.Errorf("process %d has not exited", pid)
		}
		break
	}
	resident = int64(usage.Maxrss) << 10 //nolint:unconvert // it has 32 bits on some machines
	if ws.Signaled() {
		return postmaster.ExitStatus{Signaled: true, Signal: ws.Signal(), CoreDump: ws.CoreDump()}, resident, nil
	}
	return postmaster.ExitStatus{Code: ws.ExitStatus()}, resident, nil
}

// send sends a signal to the child and its process group. The child leads a
// session of its own, so it can't leave its group, and one kill reaches both.
//
// Before the child has answered it may not have its handlers yet. SIGTERM,
// SIGINT and SIGHUP wait for that here: nobody can wipe them out. From then on
// the child itself holds back what it has blocked.
func (p *process) send(sig unix.Signal) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGHUP:
		if !p.answered {
			if !slices.Contains(p.held, sig) {
				p.held = append(p.held, sig)
			}
			return
		}
	case unix.SIGQUIT:
		if !p.answered {
			sig = unix.SIGKILL // to SIGQUIT, a Go program without a handler dumps its stacks
		}
	}
	if sig == unix.SIGHUP {
		_ = unix.Kill(p.pid, sig) // not for grandchildren, which would die of it
		return
	}
	_ = unix.Kill(-p.pid, sig)
}

// greeted notes that the child has its signal handlers, and sends what waited
// for that.
func (p *process) greeted() {
	p.answered = true
	failpoint.Of(failpoint.Greeted, p.pid)
	for _, sig := range p.held {
		p.send(sig)
	}
	p.held = nil
}
