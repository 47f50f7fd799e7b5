package lockfile

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// identity tells processes apart that have the same pid. Zeros are unknown.
type identity struct {
	start     uint64 // of the process, in clock ticks since boot
	namespace uint64 // inode number of its PID namespace
}

// String returns line 7 of the lock file, laid out as PostgreSQL does.
func (i identity) String() string { return fmt.Sprintf("%9d %9d", i.start, i.namespace) }

func parseIdentity(line string) identity {
	var i identity
	if _, err := fmt.Sscan(line, &i.start, &i.namespace); err != nil {
		return identity{}
	}
	return i
}

// ownIdentity returns the identity of this process. What can't be found out is
// zero: /proc may be missing.
func ownIdentity() identity {
	p, _ := lookAt(os.Getpid())
	return identity{start: p.start, namespace: ownNamespace()}
}

func ownNamespace() uint64 {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0
	}
	return st.Ino
}

// procEntry is what /proc says of a process.
type procEntry struct {
	parent int
	start  uint64 // in clock ticks since boot
}

// lookAt reads the /proc entry of a process.
func lookAt(pid int) (procEntry, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procEntry{}, err
	}
	// The second field, the name in parentheses, may hold anything.
	_, rest, ok := cutLast(string(text), ") ")
	fields := strings.Fields(rest)
	const startField = 22 - 3 // of proc(5), counted from the third
	if !ok || len(fields) <= startField {
		return procEntry{}, errors.New("unexpected format of /proc")
	}
	parent, err := strconv.Atoi(fields[4-3])
	start, startErr := strconv.ParseUint(fields[startField], 10, 64)
	return procEntry{parent: parent, start: start}, errors.Join(err, startErr)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// ticksPerSecond is USER_HZ, which is 100 on every architecture Go runs on.
const ticksPerSecond = 100

// startedAt translates clock ticks since boot into a time, as the clock goes
// now.
func startedAt(ticks uint64) (time.Time, bool) {
	uptime, ok := sinceBoot()
	if !ok {
		return time.Time{}, false
	}
	age := uptime - time.Duration(ticks)*(time.Second/ticksPerSecond)
	return time.Now().Add(-age), true
}

func isNotDir(err error) bool { return errors.Is(err, unix.ENOTDIR) }
