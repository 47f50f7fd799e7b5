//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins"
)

// Every process that polls a descriptor is woken when anybody touches what is
// behind it. Each worker inherits the alarm: if it were in their pollers, each
// registration anywhere would wake all of them.
func TestAnIdleWorkerIsNotWokenByTheAlarm(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	pid, err := strconv.Atoi(h.waitLog(`\[(\d+)\] LOG:  w waits$`)[1])
	if err != nil {
		t.Fatal(err)
	}
	polled := polledBy(t, pid)
	if !polled[handshake.FDLifeline] {
		t.Errorf("process %d does not watch its lifeline, descriptor %d; it polls %v", pid, handshake.FDLifeline, polled)
	}
	if polled[handshake.FDAlarm] {
		t.Errorf("process %d polls the postmaster's alarm, descriptor %d", pid, handshake.FDAlarm)
	}
}

// polledBy returns the descriptors that are in the pollers of a process.
func polledBy(t *testing.T, pid int) map[int]bool {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	polled := make(map[int]bool)
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, filepath.Base(link)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^tfd:\s*(\d+)`).FindAllSubmatch(info, -1) {
			fd, err := strconv.Atoi(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			polled[fd] = true
		}
	}
	return polled
}

// A host of a hundred workers has the threads of a host without any, give or
// take those that happened to be in a system call at the same time.
func TestTheHostHasNoThreadPerWorker(t *testing.T) {
	t.Parallel()
	const workers = 100
	var all []plugins.BackgroundWorker
	for i := range workers {
		all = append(all, plugins.BackgroundWorker{Name: fmt.Sprint("w", i), FunctionName: "wait"})
	}
	h := startHost(t, withSetting("max_worker_processes="+strconv.Itoa(workers)), withWorkers(all...))
	h.waitLogCount(`LOG:  w\d+ waits$`, workers)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", h.pid()))
	if err != nil {
		t.Fatal(err)
	}
	if len(threads) == 0 || len(threads) > workers/2 {
		t.Errorf("the host of %d workers has %d threads", workers, len(threads))
	}
	h.stop()
}
