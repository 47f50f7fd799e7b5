package localpg

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// shmemLine is the line of postmaster.pid with key and id of the System V
// segment that PostgreSQL uses as an interlock.
const shmemLine = 7

// removeSharedMemory deletes the System V segment that a postmaster, or a
// backend of initdb, leaves behind when it is killed. The next postmaster of the same data directory
// would recycle it, but here there will be none, and the system has a few
// thousand of them only. Best effort: a segment that is not surely the
// server's, or still attached, stays.
func removeSharedMemory(dataDir string) {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return // regular: the server deletes it when it shuts down
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < shmemLine {
		return
	}
	// Negative if it was not a postmaster but a backend of initdb.
	pid, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(lines[0]), "-"))
	if err != nil {
		return
	}
	fields := strings.Fields(lines[shmemLine-1])
	if len(fields) != 2 {
		return
	}
	id, err := strconv.Atoi(fields[1])
	if err != nil {
		return
	}
	var desc unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &desc); err != nil {
		return
	}
	if desc.Nattch == 0 && int(desc.Cpid) == pid {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	}
}
