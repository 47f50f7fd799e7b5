package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// demoHost is a host run as a process of the demo's, whose log the demo shows.
type demoHost struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone and its log shown
	err    error         // of Wait; valid after exited
}

// startDemoHost starts this program with other arguments. The process is
// stopped when the demo dies, even by SIGKILL.
func startDemoHost(args ...string) (*demoHost, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &demoHost{cmd: exec.Command(exe, args...), exited: make(chan struct{})}
	// In a process group of its own, Ctrl-C reaches the demo alone, which stops
	// the host in its own time.
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stopWithDemo(h.cmd.SysProcAttr)
	log, err := h.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	result := make(chan error)
	go func() {
		// Pdeathsig comes when the thread that started the process ends, so
		// this one must not end before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := h.cmd.Start()
		result <- err
		if err != nil {
			return
		}
		showLog(os.Stdout, log)
		h.err = h.cmd.Wait()
		close(h.exited)
	}()
	if err := <-result; err != nil {
		return nil, elog.New(elog.Error, elog.SystemError, "could not start the host: %v", err).WithCause(err)
	}
	return h, nil
}

// showLog copies the host's log line by line, marked as such.
func showLog(w io.Writer, log io.Reader) {
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			fmt.Fprintf(w, "  host| %s", line)
		}
		if err != nil {
			return
		}
	}
}

// stop shuts the host down and returns an error unless it ends in order.
func (h *demoHost) stop() error {
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGKILL} {
		_ = h.cmd.Process.Signal(sig)
		select {
		case <-h.exited:
			if h.err != nil {
				return elog.New(elog.Error, elog.SystemError, "the host ended with %v", h.err).WithCause(h.err)
			}
			return nil
		case <-time.After(demoLimit):
		}
	}
	return elog.New(elog.Error, elog.SystemError, "the host does not stop")
}
