package localpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const patience = 30 * time.Second

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// tempDir is a parent for server directories with a short path that every user
// can enter, which t.TempDir is not. It must be empty when the test ends.
func tempDir(t testing.TB) string {
	t.Helper()
	acct, err := serverAccount()
	check(t, err)
	root, err := tempRoot("", acct) // TMPDIR=/dev/shm makes the tests quick
	check(t, err)
	dir, err := os.MkdirTemp(root, "lp-")
	check(t, err)
	check(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() {
		if left := list(t, dir); len(left) > 0 {
			t.Errorf("left behind in %s: %v", dir, left)
		}
		check(t, os.RemoveAll(dir))
	})
	return dir
}

func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// start starts a server from the template that is stopped with the test.
func start(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Populate == nil {
		opts.Populate = template.Populate
	}
	if opts.TempDir == "" {
		opts.TempDir = tempDir(t)
	}
	s, err := Start(t.Context(), opts)
	check(t, err)
	t.Cleanup(func() { check(t, s.Stop(context.Background())) })
	return s
}

// query runs one statement in a connection of its own and returns the first
// column of the first row.
func query(t testing.TB, conninfo, sql string) string {
	t.Helper()
	value, err := tryQuery(t.Context(), conninfo, sql)
	check(t, err)
	return value
}

func tryQuery(ctx context.Context, conninfo, sql string) (string, error) {
	conn, err := pgconn.Connect(ctx, conninfo)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", err
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		return "", nil
	}
	return string(last.Rows[0][0]), nil
}

// alive says whether pid runs; a process nobody has reaped yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[0][0]
	return state != 'Z' && state != 'X'
}

// commandsWith returns the running processes, this one excepted, that have all
// the words in their command line.
func commandsWith(t testing.TB, words ...string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(t, err)
next:
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		for _, w := range words {
			if !strings.Contains(string(text), w) {
				continue next
			}
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		check(t, err)
		if pid != os.Getpid() && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// pidsBelow returns the children of a process.
func pidsBelow(pid int) (pids []int) {
	for _, child := range childrenOf(pid) {
		pids = append(pids, child.Pid)
		_ = child.Release()
	}
	return pids
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// segmentsOf returns the System V shared memory segments that pid has made.
func segmentsOf(t testing.TB, pid int) (ids []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/sysvipc/shm")
	check(t, err)
	for _, line := range strings.Split(string(text), "\n") {
		const shmid, cpid = 1, 4
		if f := strings.Fields(line); len(f) > cpid && f[cpid] == strconv.Itoa(pid) {
			ids = append(ids, f[shmid])
		}
	}
	return ids
}

func itoa(n int) string { return strconv.Itoa(n) }

func uidOf(fi os.FileInfo) uint32 { return fi.Sys().(*syscall.Stat_t).Uid }
