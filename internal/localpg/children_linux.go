//go:build !portable

package localpg

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// childrenOf returns handles of the processes whose parent is pid. A handle cannot hit a stranger that got the same
// pid later: it is a pidfd, and the parent is asked for again once it is open.
func childrenOf(pid int) []*os.Process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var children []*os.Process
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil || parentOf(child) != pid {
			continue
		}
		handle, err := os.FindProcess(child)
		if err != nil {
			continue
		}
		if parentOf(child) != pid {
			_ = handle.Release()
			continue
		}
		children = append(children, handle)
	}
	return children
}

// parentOf returns 0 if there is no such process.
func parentOf(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in parentheses may contain anything, parentheses too.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return parent
}
