package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// hostCommand says how to run a host.
type hostCommand struct {
	program string
	args    []string
	workDir string
}

// launch starts a host in the background and waits until it is ready and its
// gateway listens, as far as the user wants that. Mirrors do_start of pg_ctl.
func (c *controller) launch(h hostCommand, log *os.File) error {
	interrupts := make(chan os.Signal, 1)
	if c.wait {
		signal.Notify(interrupts, unix.SIGINT)
		defer signal.Stop(interrupts)
	}
	cmd := h.detached(log)
	if err := cmd.Start(); err != nil {
		return failure("could not start server: %s", elog.OSReason(err))
	}
	if !c.wait {
		c.say("server starting\n")
		return nil
	}
	c.say("waiting for server to start...")
	events, warning := c.watchStart(cmd, interrupts), ""
	event, _ := awaitEvent(c, events)
	if event == becameReady {
		event, warning = c.awaitGateway(events)
	}
	switch event {
	case becameReady:
		c.say(" done\nserver started\n")
		if warning != "" {
			warn("%s", warning)
		}
		return nil
	case hasExited:
		c.say(" stopped waiting\n")
		return failure("could not start server\nExamine the log output.")
	case interrupted:
		return abortStart(cmd)
	default:
		c.say(" stopped waiting\n")
		return failure("server did not start in time")
	}
}

// detached returns the command of a process that has nothing to do with our
// terminal any more, save that it may write there.
func (h hostCommand) detached(log *os.File) *exec.Cmd {
	cmd := exec.Command(h.program, h.args...)
	cmd.Dir = h.workDir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if log != nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	return cmd
}

// startEvent is what can happen while a host starts.
type startEvent int

const (
	stillStarting startEvent = iota // nothing, until the time was over
	becameReady
	hasExited
	interrupted
)

// watchStart reports what becomes of a host that was just started. The
// goroutines behind it end with the program, which is soon.
func (c *controller) watchStart(cmd *exec.Cmd, interrupts <-chan os.Signal) <-chan startEvent {
	events := make(chan startEvent, 3)
	go func() {
		_ = cmd.Wait()
		events <- hasExited
	}()
	go func() {
		<-interrupts
		events <- interrupted
	}()
	go func() {
		for !c.isReady(cmd.Process.Pid) {
			time.Sleep(readyPause)
		}
		events <- becameReady
	}()
	return events
}

// readyPause is how long to wait before the lock file is looked at again.
const readyPause = 20 * time.Millisecond

// isReady reports whether the lock file says that the host which was started as
// this pid is ready. A file of an older host that had the same pid says nothing.
func (c *controller) isReady(pid int) bool {
	contents, err := lockfile.Read(c.dir)
	if err != nil || contents.Pid != pid || !contents.Status.Up() {
		return false
	}
	p, err := contents.Holder()
	if err != nil {
		return false
	}
	p.Close()
	return true
}

// abortStart stops the host when the user does not want to wait for it any
// more, and ends as Ctrl-C ends a program. Mirrors trap_sigint_during_startup.
func abortStart(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(unix.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		warn("could not send stop signal (PID: %d): %s", cmd.Process.Pid, elog.OSReason(err))
	}
	signal.Reset(unix.SIGINT)
	if err := unix.Kill(os.Getpid(), unix.SIGINT); err == nil {
		time.Sleep(time.Second) // the signal ends us here, unless it was ignored from the start
	}
	return exitStatus(128 + int(unix.SIGINT))
}
