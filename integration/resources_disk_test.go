//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins"
)

// intoLog has the host log to a file.
func intoLog(t *testing.T, path string) hostOption {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return func(c *hostConfig) { c.log = f }
}

// awaitInFile waits for a line of a file.
func (h *testHost) awaitInFile(path, pattern string) {
	h.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	h.eventually("a line that matches "+pattern, func() bool {
		text, err := os.ReadFile(path)
		return err == nil && re.Match(text)
	})
}

// aFullLog is a disk that the log is on, and that is full for a while.
type aFullLog struct {
	path      string
	fill, end func(h *testHost)
	reason    string
}

// smallFileSystem makes a file system of 64 kB.
func smallFileSystem(t *testing.T) string {
	t.Helper()
	disk := shortTempDir(t)
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skip("this machine lets nobody mount: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	return disk
}

// A log that can't be written to for a while stops nobody. When it can be again,
// the host and each worker say how much they have not.
func TestAFullLogDiskStopsNobodyAndTheLossIsTold(t *testing.T) {
	for name, make := range map[string]func(t *testing.T) aFullLog{
		"full disk": func(t *testing.T) aFullLog {
			disk := smallFileSystem(t)
			ballast := filepath.Join(disk, "ballast")
			return aFullLog{
				path: filepath.Join(disk, "log"), reason: "No space left on device",
				fill: func(*testHost) { fill(t, ballast) },
				end: func(*testHost) {
					if err := os.Remove(ballast); err != nil {
						t.Fatal(err)
					}
				},
			}
		},
		// SIGXFSZ comes with it.
		"RLIMIT_FSIZE": func(t *testing.T) aFullLog {
			path := filepath.Join(shortTempDir(t), "log")
			return aFullLog{
				path: path, reason: "File too large",
				fill: func(h *testHost) { h.limitFiles(path, true) },
				end:  func(h *testHost) { h.limitFiles(path, false) },
			}
		},
	} {
		for _, destination := range []string{"stderr", "jsonlog"} {
			t.Run(name+"/"+destination, func(t *testing.T) {
				t.Parallel()
				testFullLog(t, make(t), destination)
			})
		}
	}
}

// limitFiles limits what the host and its children may write to a file to what
// they have, or lifts that.
func (h *testHost) limitFiles(path string, toWhatThereIs bool) {
	h.t.Helper()
	limit := unix.Rlimit{Cur: unlimited, Max: unlimited}
	if toWhatThereIs {
		st, err := os.Stat(path)
		if err != nil {
			h.t.Fatal(err)
		}
		limit.Cur = uint64(st.Size()) + 10 // the middle of the next line
	}
	for _, pid := range append(h.children(), h.pid()) {
		if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
			h.t.Fatal(err)
		}
	}
}

func testFullLog(t *testing.T, log aFullLog, destination string) {
	t.Cleanup(func() {
		if text, _ := os.ReadFile(log.path); t.Failed() {
			t.Logf("%s", text)
		}
	})
	h, ls := startLaunchers(t, []string{"l"}, intoLog(t, log.path), withSetting("log_destination="+destination))
	l := ls[0]
	log.fill(h)
	const rounds = 30 // more than a page of lines, of the host's and of the launcher's
	for range rounds {
		l.must(order{Do: "log"})
		handle := l.register(waiter("d"))
		l.awaitStart(handle)
		l.end(handle)
	}
	log.end(h)
	l.must(order{Do: "log"})
	const loss = `(\d+) log records were dropped"?,?.*(\n.*)?Could not write to the log: `
	h.awaitInFile(log.path, fmt.Sprintf(`\b%d\b.*`, l.pid)+loss+log.reason)
	handle := l.register(waiter("d"))
	l.awaitStart(handle) // so that the host has something to say
	l.end(handle)
	h.awaitInFile(log.path, fmt.Sprintf(`\b%d\b.*`, h.pid())+loss+log.reason)
	h.signal(unix.SIGINT)
	<-h.exited
	if code := h.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	checkLines(t, log.path, destination)
}

// checkLines checks that all lines of a log are whole but for those in the middle
// of which there was no room any more.
func checkLines(t *testing.T, path, destination string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	start := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC \[\d+\] [A-Z]+:  `)
	for line := range strings.Lines(string(text)) {
		if destination == "jsonlog" && !json.Valid([]byte(line)) || destination == "stderr" && !start.MatchString(line) {
			broken++
		}
	}
	if broken > 2 {
		t.Errorf("%d lines are broken in\n%s", broken, text)
	}
	if !strings.Contains(string(text), "extension host is shut down") {
		t.Errorf("no last line in\n%s", text)
	}
}

// The status in the lock file is written in place, so that it is told to the
// last even on a full disk.
func TestAFullDiskKeepsNoStatusBack(t *testing.T) {
	t.Parallel()
	disk := smallFileSystem(t)
	dir := filepath.Join(disk, "host")
	if err := host.Init(dir, ""); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, inDir(dir), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitStatus(lockfile.Ready)
	h.waitLog(`LOG:  w waits$`)
	fill(t, filepath.Join(disk, "ballast"))
	worker := h.workerPid("w")
	h.freeze(worker)
	h.signal(unix.SIGINT)
	h.waitStatus(lockfile.Stopping)
	kill(t, worker, unix.SIGCONT)
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := lockfile.Read(h.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock file is left: %v", err)
	}
}
