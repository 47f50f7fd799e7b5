package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// quitGrace is how long the postmaster may take over an immediate shutdown:
	// it gives its children 5 s before it uses SIGKILL itself.
	quitGrace = 7 * time.Second
	// killGrace is how long processes may take to vanish after SIGKILL.
	killGrace = 5 * time.Second

	busyAttempts = 20
	busyPause    = 5 * time.Millisecond
)

// process is a running program and everything it has started.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the program has ended and was reaped
	gone   chan struct{} // closed when its descendants have ended as well
	err    error         // result of Wait; valid once exited is closed
}

// startProcess starts cmd in a session of its own, so that a Ctrl-C meant for
// us does not reach it, and has the kernel send it orphanSignal when this
// process ends. It sets cmd's SysProcAttr and extra files.
func startProcess(cmd *exec.Cmd, cred *syscall.Credential, orphanSignal syscall.Signal) (*process, error) {
	// Each descendant inherits the write end: EOF means there is none left.
	lifeline, inherited, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for %s: %w", cmd.Path, err)
	}
	defer inherited.Close()
	cmd.ExtraFiles = []*os.File{inherited}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: cred}
	dieWithParent(cmd.SysProcAttr, orphanSignal)

	p := &process{cmd: cmd, exited: make(chan struct{}), gone: make(chan struct{})}
	started := make(chan error, 1)
	go p.own(started)
	if err := <-started; err != nil {
		lifeline.Close()
		return nil, err
	}
	go func() {
		defer lifeline.Close()
		_, _ = io.Copy(io.Discard, lifeline)
		<-p.exited
		close(p.gone)
	}()
	return p, nil
}

// own starts the program and waits for it. The kernel takes the end of the
// thread that forked for the end of the parent, so this goroutine keeps its
// thread as long as the program lives.
func (p *process) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := retryBusy(p.cmd.Start)
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

// retryBusy repeats f while a program just written is still open for writing
// in a child that is between fork and exec.
func retryBusy(f func() error) error {
	err := f()
	for i := 0; i < busyAttempts && errors.Is(err, unix.ETXTBSY); i++ {
		time.Sleep(busyPause)
		err = f()
	}
	return err
}

// run starts cmd and waits for it and its descendants. When ctx ends they are
// killed and the result is the cause.
func run(ctx context.Context, cmd *exec.Cmd, cred *syscall.Credential) error {
	p, err := startProcess(cmd, cred, unix.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-p.gone:
		return p.err
	case <-ctx.Done():
	}
	// The whole session is one process group: initdb and its children.
	if err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill %s: %w", cmd.Path, err)
	}
	if err := p.awaitGone(killGrace); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// signal returns os.ErrProcessDone if the program has ended.
func (p *process) signal(sig os.Signal) error {
	return p.cmd.Process.Signal(sig)
}

// stop is for a postmaster: a fast shutdown until ctx ends, then an immediate
// one, then SIGKILL.
func (p *process) stop(ctx context.Context) error {
	_ = p.signal(unix.SIGINT) // an error says that it has ended
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
	}
	_ = p.signal(unix.SIGQUIT)
	if p.awaitGone(quitGrace) == nil {
		return nil
	}
	return p.kill()
}

// kill ends the postmaster and its children with SIGKILL and waits for that.
// The children have to be found first, while they have their parent, and the
// parent must not fork any more: one forked last would live on, unseen.
func (p *process) kill() error {
	var children []*os.Process
	if p.signal(unix.SIGSTOP) == nil {
		p.awaitStopped()
		children = childrenOf(p.cmd.Process.Pid)
	}
	_ = p.signal(unix.SIGKILL)
	for _, child := range children {
		_ = child.Kill()
		_ = child.Release()
	}
	return p.awaitGone(killGrace)
}

func (p *process) awaitGone(limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.gone:
		return nil
	case <-timer.C:
		return fmt.Errorf("processes of the server that had pid %d are still there after %v", p.cmd.Process.Pid, limit)
	}
}
