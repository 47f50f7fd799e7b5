package pluginstest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// hostProcess is one run of a host.
type hostProcess struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the host was reaped
	logged chan struct{} // closed when all that could write to the log have ended
}

// startHostProcess starts a host in a session of its own, so that Ctrl-C does not
// reach it, and has the kernel kill it when this process ends.
func startHostProcess(cmd *exec.Cmd, log *logBook) (*hostProcess, error) {
	// The pipe is ours, not exec's, whose Wait would wait for the workers.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd.Stderr = w
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	dieWithTest(cmd.SysProcAttr)

	p := &hostProcess{cmd: cmd, exited: make(chan struct{}), logged: make(chan struct{})}
	started := make(chan error, 1)
	go p.own(started)
	if err := <-started; err != nil {
		_ = r.Close()
		return nil, err
	}
	go p.read(r, log)
	return p, nil
}

// own starts the host and waits for it. The kernel takes the end of the thread that
// forked for the end of the parent, so this goroutine keeps its thread meanwhile.
func (p *hostProcess) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = p.cmd.Wait()
	close(p.exited)
}

// read collects the log. What is no record is what comes before the settings are
// read, and what Go itself prints.
func (p *hostProcess) read(log io.ReadCloser, book *logBook) {
	defer close(p.logged)
	defer log.Close()
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r, notJSON := parseRecord([]byte(line))
			if notJSON != nil || r.Level == 0 {
				r = Record{Message: strings.TrimSuffix(line, "\n")}
			}
			book.add(r)
		}
		if err != nil {
			return
		}
	}
}

func (p *hostProcess) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// awaitEnd waits for the end of the host and of all its workers: each of them has
// the log open.
func (p *hostProcess) awaitEnd(patience time.Duration) bool {
	limit := time.After(patience)
	for _, end := range []chan struct{}{p.exited, p.logged} {
		select {
		case <-end:
		case <-limit:
			return false
		}
	}
	return true
}
