package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// TestALongLivedHostDoesNotGrow has a host read its configuration hundreds of
// times, and start workers anew that were killed.
func TestALongLivedHostDoesNotGrow(t *testing.T) {
	skipIfShort(t)
	t.Parallel()
	d := newHostDir(t)
	d.setValue(t, 1)
	p := d.start(t)
	value := 1
	live := func(reloads, kills int) {
		for range reloads {
			value++
			d.setValue(t, value)
			if err := p.Signal(unix.SIGHUP); err != nil {
				t.Fatal(err)
			}
			d.expectValue(t, value)
		}
		for range kills {
			d.killWaiter(t, p)
		}
	}
	live(100, 10)
	files, memory := openFiles(t, p.Pid), residentKiB(t, p.Pid)
	live(250, 30)
	// More come and go: a worker was just started, now as then.
	eventually(t, fmt.Sprintf("it has no more than %d open files", files), func() bool { return openFiles(t, p.Pid) <= files })
	if now, most := residentKiB(t, p.Pid), memory+memory/2; now > most {
		t.Errorf("it has grown from %d to %d KiB", memory, now)
	}
	d.control(t, "stop").exactly(t, 0, stoppedText, "")
}

func (d hostDir) setValue(t *testing.T, value int) {
	t.Helper()
	text := fmt.Sprintf("server_conninfo = 'host=/nonexistent'\nshared_preload_libraries = '%s'\nwalk.restless = off\nwalk.value = %d\n", walkLibraryName, value)
	if err := os.WriteFile(filepath.Join(d.path, "pgexthost.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d hostDir) expectValue(t *testing.T, value int) {
	t.Helper()
	eventually(t, fmt.Sprintf("walk.value is %d", value), func() bool {
		all, _ := host.RunningSettings(d.path)
		for _, s := range all {
			if s.Name == "walk.value" {
				return s.Value == strconv.Itoa(value)
			}
		}
		return false
	})
}

// killWaiter kills a worker and waits for its successor.
func (d hostDir) killWaiter(t *testing.T, p *lockfile.Process) {
	t.Helper()
	waiter := func() (found proc) {
		for _, c := range procsWith(fmt.Sprintf("%s=%d", asProgram, os.Getpid())) {
			if c.parent == p.Pid && c.title() == walkWaiter {
				found = c
			}
		}
		return found
	}
	var old proc
	eventually(t, "the worker runs", func() bool { old = waiter(); return old.pid != 0 })
	old.signal(unix.SIGKILL)
	eventually(t, "the worker runs again", func() bool { now := waiter(); return now.pid != 0 && now.pid != old.pid })
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(text, []byte("VmRSS:"))
	var size int
	if _, err := fmt.Sscan(string(rest), &size); err != nil {
		t.Fatal(err)
	}
	return size
}
