//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// users counts the users that this test run has made up.
var users atomic.Uint32

// asStranger runs the host as a user of its own, whose processes nobody else's
// count with: root is exempt from most limits. Who is not root has but itself.
func asStranger() hostOption {
	if os.Geteuid() != 0 {
		return func(*hostConfig) {}
	}
	id := 100_000 + uint32(os.Getpid())*100 + users.Add(1)
	return func(c *hostConfig) { c.user = &syscall.Credential{Uid: id, Gid: id} }
}

// lend gives the user of the host what it needs: the data directory, and a
// program, since nobody else may enter the directory of the test's own.
func (c *hostConfig) lend(t testing.TB) {
	t.Helper()
	if c.program == os.Args[0] {
		c.program = filepath.Join(shortTempDir(t), "program")
		copyFile(t, os.Args[0], c.program)
	}
	c.workDir = c.dir
	for _, path := range []string{c.dir, c.program} {
		if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := filepath.WalkDir(c.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(c.user.Uid), int(c.user.Gid))
	}); err != nil {
		t.Fatal(err)
	}
}

// setLimit is the environment variable that makes the test binary a program that
// changes a limit of another process: root may be short of the capability that
// it takes with those of another user, but that user may.
const setLimit = "PGEXTHOST_TEST_SET_LIMIT"

type limitOrder struct {
	Pid, Resource int
	Soft          uint64
}

func beLimiter(text string) {
	var o limitOrder
	var now unix.Rlimit
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = unix.Prlimit(o.Pid, o.Resource, nil, &now)
	}
	if err == nil {
		err = unix.Prlimit(o.Pid, o.Resource, &unix.Rlimit{Cur: min(o.Soft, now.Max), Max: now.Max}, nil)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// unlimited is as much as there may be.
const unlimited = unix.RLIM_INFINITY

// limit sets a soft limit of the host while it runs. Children are born with it.
func (h *testHost) limit(resource int, soft uint64) {
	h.t.Helper()
	text, err := json.Marshal(limitOrder{h.pid(), resource, soft})
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(h.cmd.Path)
	cmd.Env = append(os.Environ(), setLimit+"="+string(text))
	cmd.Dir, cmd.SysProcAttr = h.cmd.Dir, &syscall.SysProcAttr{Credential: h.cmd.SysProcAttr.Credential}
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
}
