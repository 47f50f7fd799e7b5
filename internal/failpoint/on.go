//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// titlePrefix is what the titles of a host's children begin with.
const titlePrefix = "pgexthost: "

// armed is what this process is to do. It never changes.
var armed = func() map[string][]spec {
	specs, err := parse(os.Getenv(Variable))
	if err == nil && len(specs) > 0 && os.Getenv(Dir) == "" {
		err = fmt.Errorf("%s is not set", Dir)
	}
	if err == nil && len(specs) > 0 && !isChild {
		err = os.WriteFile(hostFile(), fmt.Append(nil, os.Getpid()), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgexthost:", err)
		os.Exit(98)
	}
	byPoint := make(map[string][]spec)
	for _, s := range specs {
		byPoint[s.point] = append(byPoint[s.point], s)
	}
	return byPoint
}()

// hostFile tells children who the host is. When that is dead they have another
// parent, who must not be killed in its place.
func hostFile() string { return filepath.Join(os.Getenv(Dir), "host") }

func parentIsHost() bool {
	text, err := os.ReadFile(hostFile())
	return err == nil && string(text) == strconv.Itoa(os.Getppid())
}

// self is this process: a child, by its title, or the host.
var self, isChild = strings.CutPrefix(os.Args[0], titlePrefix)

// Here is a point that this process passes.
func Here(p Point) {
	if len(armed) == 0 {
		return
	}
	if isChild {
		pass(p, self, os.Getpid())
	} else {
		pass(p, "", 0)
	}
}

// Of is a point that the host passes while it is busy with a child, whose pid is
// given, or 0 if that has none any more.
func Of(p Point, child int) {
	if len(armed) > 0 {
		pass(p, titleOf(child), child)
	}
}

// titles are those of the host's children, which have none any more when they
// have ended.
var titles sync.Map

func titleOf(pid int) string {
	if pid == 0 {
		return ""
	}
	line := commandLine(pid)
	argv0, _, _ := strings.Cut(string(line), "\x00")
	if title, ok := strings.CutPrefix(argv0, titlePrefix); ok {
		titles.Store(pid, title)
		return title
	}
	title, _ := titles.Load(pid)
	text, _ := title.(string)
	return text
}

// commandLine returns that of a process. One that is just being executed has none
// for a moment, a zombie has none any more.
func commandLine(pid int) []byte {
	for {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if len(line) > 0 || err != nil {
			return line
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, state, _ := strings.Cut(string(stat), ") "); err != nil || strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}

// pass does what is to be done at a point, where the process, which may be
// nobody, has that pid.
func pass(p Point, process string, child int) {
	times := make(map[string]int) // by the process of the spec: several may have the same
	for _, s := range armed[p.String()] {
		if s.process != "" && s.process != process {
			continue
		}
		if times[s.process] == 0 {
			times[s.process] = tally(counter(s.point, s.process))
		}
		if times[s.process] == s.nth {
			s.action.take(p, child)
		}
	}
	if len(armed["*"]) > 0 {
		tally(counter(p.String(), process))
	}
}

// tally adds a byte to a file and returns how many it has by then. No other
// process gets the same number.
func tally(name string) int {
	file, err := os.OpenFile(filepath.Join(os.Getenv(Dir), name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) //nolint:gosec // G703: the tester's own
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if _, err := file.Write([]byte{'.'}); err != nil {
		panic(err)
	}
	n, err := file.Seek(0, 1) // behind the own byte, whoever has written meanwhile
	if err != nil {
		panic(err)
	}
	return int(n)
}

func (a action) take(p Point, child int) {
	switch {
	case a == killChild && child == 0:
		panic("there is no child at the failpoint " + p.String())
	case a == killChild:
		kill(child)
	case a == killHost && isChild && parentIsHost():
		kill(os.Getppid())
	case a == killHost && isChild: // it is dead already
	case a == killHost:
		kill(os.Getpid())
	case a == stop:
		runtime.LockOSThread() // or another thread may stop before this one does
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
		runtime.UnlockOSThread()
	}
}

// kill returns when the process is dead, or never if it is this one.
func kill(pid int) {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return // it has just ended
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err != unix.EINTR {
			return
		}
	}
}
