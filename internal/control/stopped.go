package control

import (
	"fmt"
	"os"
	"strings"
)

// isStopped reports whether a process does nothing because it was told to, by
// SIGSTOP or a debugger. Of one that can't be looked at it says no.
func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// PID (COMMAND) STATE …, where COMMAND may hold anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	return strings.HasPrefix(rest, "T") || strings.HasPrefix(rest, "t")
}

// withProcess adds to an answer what the kernel knows of the worker's process.
func withProcess(a Answer, pid int) Answer {
	if a.Running && isStopped(pid) {
		a.Detail = "Its process is stopped, by SIGSTOP or a debugger, and does nothing until it gets SIGCONT."
	}
	return a
}
