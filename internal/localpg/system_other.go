//go:build !linux || portable

package localpg

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dieWithParent does nothing: only Linux has a signal for the death of a parent.
// The server of a process that is killed lives on until the next Start, Stop or
// NewScratch of any process deletes its directory, which it notices within a
// minute.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// awaitStopped returns when SIGSTOP has taken effect or the program has ended, or
// after killGrace.
func (p *process) awaitStopped() {
	for deadline := time.Now().Add(killGrace); time.Now().Before(deadline); time.Sleep(busyPause) {
		state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(p.cmd.Process.Pid)).Output()
		if err != nil || strings.HasPrefix(string(state), "T") || strings.HasPrefix(string(state), "Z") {
			return
		}
	}
}

// childrenOf returns handles of the processes whose parent is pid. The parent is
// stopped or ours: while it is there, it has to reap a child before another
// process can have the child's pid.
func childrenOf(pid int) []*os.Process {
	list, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil
	}
	var children []*os.Process
	for line := range strings.Lines(string(list)) {
		var child, parent int
		if _, err := fmt.Sscan(line, &child, &parent); err != nil || parent != pid {
			continue
		}
		if handle, err := os.FindProcess(child); err == nil {
			children = append(children, handle)
		}
	}
	return children
}
