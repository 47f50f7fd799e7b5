//go:build linux

package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins"
)

// waitStatus waits for the last line of the lock file.
func (h *testHost) waitStatus(want lockfile.Status) lockfile.Contents {
	h.t.Helper()
	var c lockfile.Contents
	h.eventually("status "+string(want), func() bool {
		var err error
		c, err = lockfile.Read(h.dir)
		return err == nil && c.Status == want && c.Pid == h.pid() // a predecessor may have left one
	})
	return c
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// SPEC §15: the eight lines, from the start to the end.
func TestTheLockFileFollowsTheHost(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "external.pid")
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "d", FunctionName: "wait"}), withSetting("external_pid_file="+pidFile))
	c := h.waitStatus(lockfile.Ready)
	if c.Pid != h.pid() || c.DataDir != h.dir || c.Started.IsZero() || c.Port != 0 || c.SocketDir != "" || c.ListenAddress != "" {
		t.Errorf("got %+v", c)
	}
	h.waitLog(`LOG:  extension host is ready$`)
	if text, err := os.ReadFile(pidFile); err != nil || string(text) != fmt.Sprintln(h.pid()) {
		t.Errorf("external PID file: %q, %v", text, err)
	}
	if st, err := os.Stat(pidFile); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("external PID file: %v, %v", st.Mode(), err)
	}
	opts, err := lockfile.ReadOpts(h.dir)
	if err != nil || !slices.Equal(opts.Args, h.cmd.Args[1:]) || opts.Program != h.cmd.Path {
		t.Errorf("postmaster.opts: %+v, %v", opts, err)
	}
	h.waitLog(`LOG:  d waits$`)
	worker := h.children()[0]
	h.freeze(worker)
	h.signal(unix.SIGINT)
	h.waitStatus(lockfile.Stopping)
	if err := unix.Kill(worker, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	var left []string
	entries, _ := os.ReadDir(h.dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if !slices.Equal(left, []string{"pgexthost.conf", "postmaster.opts"}) || exists(pidFile) {
		t.Errorf("left in the directory: %q; external PID file: %v", left, exists(pidFile))
	}
}

func TestAnExternalPidFileThatCannotBeWrittenIsReported(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("external_pid_file=/no/such/directory/pid"))
	h.waitLog(`LOG:  could not write external PID file "/no/such/directory/pid": No such file or directory$`)
	h.waitLog(`LOG:  extension host is ready$`)
	h.stop()
}

// SPEC §15: a live holder.
func TestASecondHostIsRefused(t *testing.T) {
	t.Parallel()
	h := startHost(t, waiters())
	h.waitStatus(lockfile.Ready)
	before, err := os.ReadFile(filepath.Join(h.dir, lockfile.Name))
	if err != nil {
		t.Fatal(err)
	}
	second := startHost(t, inDir(h.dir))
	if code := second.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	second.waitLog(`FATAL:  lock file ".*/host/postmaster.pid" already exists$`)
	second.waitLog(fmt.Sprintf(`HINT:  Is another postmaster \(PID %d\) running in data directory "%s"\?$`, h.pid(), h.dir))
	after, err := os.ReadFile(filepath.Join(h.dir, lockfile.Name))
	if err != nil || string(after) != string(before) {
		t.Errorf("the lock file has become %q, %v", after, err)
	}
	h.stop()
}

// A lock file of this directory with a live process in it, and nobody holding the
// lock, as on a file system that does not know locks.
func TestALockFileOfALiveProcessIsBelieved(t *testing.T) {
	t.Parallel()
	other := startHost(t)
	other.waitStatus(lockfile.Ready)
	dir := newDataDir(t, "")
	text, err := os.ReadFile(filepath.Join(other.dir, lockfile.Name))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(other.dir), []byte(dir), 1)
	write(t, filepath.Join(dir, lockfile.Name), string(text))
	h := startHost(t, inDir(dir))
	if code := h.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	h.waitLog(`FATAL:  lock file ".*" already exists$`)
	if kept, err := os.ReadFile(filepath.Join(dir, lockfile.Name)); err != nil || string(kept) != string(text) {
		t.Errorf("the lock file is %q, %v", kept, err)
	}
	other.stop()
	again := startHost(t, inDir(dir))
	again.waitStatus(lockfile.Ready)
	again.stop()
}

// A directory that was copied while its host ran, lock file and all, is another
// one.
func TestACopiedLockFileStopsNoStart(t *testing.T) {
	t.Parallel()
	original := startHost(t)
	original.waitStatus(lockfile.Ready)
	dir := newDataDir(t, "")
	text, err := os.ReadFile(filepath.Join(original.dir, lockfile.Name))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, lockfile.Name), string(text))
	h := startHost(t, inDir(dir))
	h.waitStatus(lockfile.Ready)
	h.stop()
	if kept, err := os.ReadFile(filepath.Join(original.dir, lockfile.Name)); err != nil || string(kept) != string(text) {
		t.Errorf("the lock file of the original has become %q, %v", kept, err)
	}
	original.stop()
}

// A host that was killed leaves a lock file and, for a moment, children. Who
// starts the next one need not care.
func TestAHostStartsRightAfterAKilledOne(t *testing.T) {
	t.Parallel()
	h := startHost(t, waiters())
	h.waitLogCount(`LOG:  w\d waits$`, 3)
	h.signal(unix.SIGKILL)
	<-h.exited
	again := startHost(t, waiters(), inDir(h.dir))
	again.waitLogCount(`LOG:  w\d waits$`, 3)
	h.awaitLogEnd()
	again.stop()
}

// killedWithAnOrphan returns a host that was killed, and its worker, which is
// stopped and so can't notice.
func killedWithAnOrphan(t *testing.T) (h *testHost, orphan int) {
	t.Helper()
	h = startHost(t, withWorkers(plugins.BackgroundWorker{Name: "frozen", FunctionName: "wait"}))
	h.waitLog(`LOG:  frozen waits$`)
	orphan = h.workerPid("frozen")
	h.freeze(orphan)
	h.signal(unix.SIGKILL)
	<-h.exited
	return h, orphan
}

// "Is anybody still attached": an orphan that can't notice that its host has
// died keeps the directory.
func TestAHostIsRefusedUntilTheLastOrphanIsGone(t *testing.T) {
	t.Parallel()
	h, pid := killedWithAnOrphan(t)
	second := startHost(t, inDir(h.dir))
	if code := second.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	second.waitLog(`LOG:  data directory ".*" is still in use, waiting for it to be released$`)
	second.waitLog(`FATAL:  data directory ".*" is still in use$`)
	second.waitLog(fmt.Sprintf(`DETAIL:  Processes of a host that has died still run in it: %d\.$`, pid))
	second.waitLog(`HINT:  Terminate any old host processes associated with the data directory\.$`)
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	third := startHost(t, inDir(h.dir))
	third.waitStatus(lockfile.Ready)
	third.stop()
}

func TestAHostThatWaitsForADirectoryCanBeStopped(t *testing.T) {
	t.Parallel()
	h, pid := killedWithAnOrphan(t)
	second := startHost(t, inDir(h.dir))
	second.waitLog(`waiting for it to be released$`)
	second.signal(unix.SIGTERM)
	if code := second.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	second.waitLog(`FATAL:  terminating during startup due to administrator command$`)
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// SPEC §15: what a look at the lock file finds. Looks come every 60 s, as the
// core's tests show, and with a reload. A directory that was lost is another's,
// whose host must find nothing of ours in its way.
func TestAHostWithoutItsLockFileStops(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string) error{
		"gone":     os.Remove,
		"replaced": func(path string) error { return os.WriteFile(path, []byte("1\n"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, waiters())
			h.waitStatus(lockfile.Ready)
			path := filepath.Join(h.dir, lockfile.Name)
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			h.signal(unix.SIGHUP)
			h.waitLog(`LOG:  performing immediate shutdown because data directory lock file is invalid$`)
			h.waitLog(`LOG:  received immediate shutdown request$`)
			if name == "gone" {
				h.waitLog(`LOG:  could not open file ".*/postmaster.pid": No such file or directory$`)
			} else {
				h.waitLog(fmt.Sprintf(`LOG:  lock file ".*/postmaster.pid" contains wrong PID: 1 instead of %d$`, h.pid()))
			}
			h.awaitExit()
			if text, err := os.ReadFile(path); name == "replaced" && (err != nil || string(text) != "1\n") {
				t.Errorf("the other's file is %q, %v", text, err)
			}
		})
	}
}

// The old host finds its directory at another place, and another's at its own.
func TestAHostWhoseDirectoryWasMovedLeavesItsSuccessorAlone(t *testing.T) {
	t.Parallel()
	old := startHost(t, withSetting("cluster_name=old"))
	old.waitStatus(lockfile.Ready)
	if err := os.Rename(old.dir, old.dir+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := host.Init(old.dir, ""); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, inDir(old.dir), withSetting("cluster_name=new"))
	h.waitStatus(lockfile.Ready)
	before, err := host.RunningSettings(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	old.signal(unix.SIGHUP)
	old.waitLog(`LOG:  performing immediate shutdown because data directory lock file is invalid$`)
	if code := old.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if after, err := host.RunningSettings(h.dir); err != nil || !slices.Equal(after, before) {
		t.Errorf("the settings have become %v, %v", after, err)
	}
	h.waitStatus(lockfile.Ready)
	h.stop()
}

func TestAStartClearsAwayWhatAKilledHostWasWriting(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	remnants := []string{filepath.Join(dir, "config_exec_params.tmp"), filepath.Join(dir, "libraries_exec_params.tmp"), filepath.Join(dir, "postmaster.opts.tmp")}
	for _, name := range remnants {
		write(t, name, "half of it")
	}
	h := startHost(t, inDir(dir), withSetting("max_worker_processes=many"))
	if code := h.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, name := range remnants {
		if exists(name) {
			t.Errorf("%s is still there", name)
		}
	}
}

// A full disk keeps a host from starting, and it says so; one that runs goes
// on. Nothing half-written is left.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("making a small file system takes root")
	}
	disk := shortTempDir(t)
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skip("this machine lets nobody mount: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	dir := filepath.Join(disk, "host")
	if err := host.Init(dir, ""); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, inDir(dir), waiters())
	h.waitLogCount(`LOG:  w\d waits$`, 3)
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  could not write to file ".*/config_exec_params": No space left on device$`)
	h.stop()
	if exists(filepath.Join(dir, lockfile.Name)) {
		t.Error("the lock file is left")
	}
	fill(t, ballast)
	second := startHost(t, inDir(dir))
	if code := second.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	second.waitLog(`FATAL:  could not write (lock )?file ".*/postmaster.(pid|opts)": No space left on device$`)
	for _, name := range []string{lockfile.Name, lockfile.OptsName + ".tmp", "config_exec_params.tmp", "libraries_exec_params.tmp"} {
		if exists(filepath.Join(dir, name)) {
			t.Errorf("%s is left", name)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	third := startHost(t, inDir(dir))
	third.waitStatus(lockfile.Ready)
	third.stop()
}

// fill writes to a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := strings.Repeat("x", 4096); err == nil; {
		_, err = f.WriteString(chunk)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

// Whatever the umask of who starts it, the host and its workers leave no files
// for strangers.
func TestFilesAreAsPrivateAsTheDirectory(t *testing.T) {
	t.Parallel()
	for mode, umask := range map[os.FileMode]string{0o700: "0077", 0o750: "0027"} {
		t.Run(fmt.Sprintf("%o", mode), func(t *testing.T) {
			t.Parallel()
			dir := newDataDir(t, "")
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			h := startHost(t, inDir(dir), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
			h.waitLog(`LOG:  w waits$`)
			for _, pid := range append(h.children(), h.pid()) {
				status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
				if err != nil || !strings.Contains(string(status), "\nUmask:\t"+umask+"\n") {
					t.Errorf("process %d: %v\n%s", pid, err, status)
				}
			}
			h.stop()
		})
	}
}
