package host

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// The first process of a container, or of any other PID namespace, gets the
// children of all others that die there: the kernel makes them children of the
// thread that leads the process. Nobody else reaps these orphans, and those that
// are not reaped use up the process numbers of the container.
//
// The host's own children are never among them, since the spawner's thread has
// those and is another one. So nothing here can take a child's exit status away
// from the event loop, not even of one that has been forked just now and that
// nobody knows of yet.

// catchOrphans returns the channel that says that orphans may have exited, or
// nil, on which nothing ever arrives, if this process gets none.
func catchOrphans() chan os.Signal {
	if os.Getpid() != 1 {
		return nil
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD)
	return c
}

// reapOrphans collects the exit status of each orphan that has exited. To
// PostgreSQL a child that it has not started has crashed like a backend if it
// ends with another code than 0 or 1; in a container that says nothing about
// anybody else.
func reapOrphans(log *elog.Logger) {
	orphans, err := adopted()
	if err != nil {
		log.Logf(elog.Log, "could not look for orphaned processes: %v", err)
		return
	}
	for _, pid := range orphans {
		if status, _, err := reap(pid); err == nil { // otherwise it is still alive
			log.Logf(elog.Debug1, "untracked child process (PID %d) %s", pid, status)
		}
	}
}

// adopted returns the children of the leading thread, but for those of this
// process's session: a program that runs a host may have started them in its own
// way and wait for them. Those that have not been reaped keep their pids.
func adopted() ([]int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		return nil, err
	}
	session, err := unix.Getsid(0)
	if err != nil {
		return nil, os.NewSyscallError("getsid", err)
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		if sid, err := unix.Getsid(pid); err == nil && sid != session {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
