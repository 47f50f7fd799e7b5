//go:build linux

package integration

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// initWaits begins a reload that brings another worker, and returns while its Init
// waits. Leave has its client go away.
func initWaits(t *testing.T) (h *testHost, leave func(), release string) {
	t.Helper()
	release = filepath.Join(shortTempDir(t), "release")
	v := variant{Version: "1", Workers: []string{"w"}, Restart: plugins.NeverRestart}
	lib, search := newEvolving(t, v)
	h = startHost(t, search, withSetting(preloadEvolving), withSetting("library_init_timeout=0"))
	h.waitLog(`LOG:  w of version 1 works$`)
	lib.become(variant{Version: "2", Workers: []string{"w", "new"}, Restart: plugins.NeverRestart, Init: "waits", Release: release})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = h.reload(ctx, "evolving", limit)
	}()
	h.workerPid("preload")
	return h, func() { cancel(); <-left }, release
}

// Nobody has to wait for a reload: what it brings is there all the same.
func TestAReloadIsCompletedThoughItsClientHasLeft(t *testing.T) {
	t.Parallel()
	h, leave, release := initWaits(t)
	leave()
	put(t, release, "", 0o600)
	h.waitLog(`LOG:  new of version 2 works$`)
	wantReload(t, h.mustReload("evolving"), "w restarted, new restarted", "") // as the static worker that it is
	h.stop()
}

func TestAReloadIsCompletedByTheNextControlServer(t *testing.T) {
	t.Parallel()
	h, leave, release := initWaits(t)
	h.killControlServer()
	leave()
	put(t, release, "", 0o600)
	h.waitLog(`LOG:  new of version 2 works$`)
	h.killControlServer() // the one after that has nothing to do
	h.eventually("another control server", func() bool {
		r, err := h.reload(t.Context(), "evolving", limit)
		if err == nil {
			wantReload(t, r, "w restarted, new restarted", "")
		}
		return err == nil
	})
	if n := len(h.workers()); n != 2 {
		t.Errorf("there are %d workers", n)
	}
	h.stop()
}

func (h *testHost) killControlServer() {
	h.t.Helper()
	h.eventually("the control server", func() bool {
		pids, err := childrenOf(h.pid())
		if err != nil {
			h.t.Fatal(err)
		}
		i := slices.IndexFunc(pids, isControlServer)
		if i >= 0 {
			h.kill(pids[i])
		}
		return i >= 0
	})
}

// initHangs begins a reload whose Init hangs, and returns what it comes to.
func initHangs(t *testing.T, more ...hostOption) (h *testHost, answer <-chan error, lib evolvingLibrary) {
	t.Helper()
	v := variant{Version: "1", Workers: []string{"w"}}
	lib, search := newEvolving(t, v)
	h = startHost(t, append(more, search, withSetting(preloadEvolving), withSetting("library_init_timeout=0"))...)
	h.waitLog(`LOG:  w of version 1 works$`)
	v.Init = "hangs"
	lib.become(v)
	result := make(chan error, 1)
	go func() {
		_, err := h.reload(t.Context(), "evolving", 10*limit)
		result <- err
	}()
	h.workerPid("preload")
	return h, result, lib
}

func wantAnswer(t *testing.T, answer <-chan error, says ...string) {
	t.Helper()
	select {
	case err := <-answer:
		for _, text := range says {
			if err != nil && strings.Contains(err.Error(), text) {
				return
			}
		}
		t.Errorf("got %v", err)
	case <-time.After(limit):
		t.Fatal("there is no answer")
	}
}

const (
	hungUp = "the host closed the connection unexpectedly"
	died   = "the host has died"
)

func TestAStopInTheMiddleOfAReload(t *testing.T) {
	t.Parallel()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			t.Parallel()
			h, answer, _ := initHangs(t)
			h.signal(sig)
			wantAnswer(t, answer, "the host is shutting down", hungUp)
			if code := h.awaitExit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestTheDeathOfTheHostInTheMiddleOfAReload(t *testing.T) {
	t.Parallel()
	h, answer, lib := initHangs(t)
	h.signal(unix.SIGKILL)
	wantAnswer(t, answer, hungUp, died)
	h.awaitExit()
	lib.become(variant{Version: "2", Workers: []string{"w"}})
	next := startHost(t, inDir(h.dir), withSetting("dynamic_library_path="+filepath.Dir(lib.file)), withSetting(preloadEvolving))
	next.waitLog(`LOG:  w of version 2 works$`)
	next.stop()
}

func TestACrashCycleInTheMiddleOfAReload(t *testing.T) {
	t.Parallel()
	h, answer, lib := initHangs(t, withSetting("crash_scope=cluster"))
	h.kill(h.workerPid("w"))
	wantAnswer(t, answer, hungUp, "recovering")
	h.waitLog(`LOG:  all server processes terminated; reinitializing$`)
	lib.become(variant{Version: "2", Workers: []string{"w"}})
	h.eventually("a reload", func() bool { // by the control server that comes then
		_, err := h.reload(t.Context(), "evolving", limit)
		return err == nil
	})
	h.waitLog(`LOG:  w of version 2 works$`)
	h.stop()
}

// The control server is nobody special: another one asks again.
func TestTheDeathOfTheControlServerInTheMiddleOfAReload(t *testing.T) {
	t.Parallel()
	h, answer, lib := initHangs(t)
	h.killControlServer()
	wantAnswer(t, answer, hungUp)
	lib.become(variant{Version: "2", Workers: []string{"w"}})
	second := make(chan error, 1)
	go func() {
		for {
			_, err := h.reload(t.Context(), "evolving", 10*limit)
			var report *elog.ErrorData
			if err == nil || !errors.As(err, &report) || report.Code != elog.ConnectionFailure && report.Code != elog.SQLClientUnableToConnect {
				second <- err
				return
			}
		}
	}()
	h.kill(h.workerPid("preload")) // the one that hangs
	h.waitLog(`LOG:  library "evolving" was not reloaded: preload process \(PID \d+\) was terminated by signal 9`)
	select {
	case err := <-second:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(limit):
		t.Fatal("the second reload hangs")
	}
	h.waitLog(`LOG:  w of version 2 works$`)
	h.stop()
}
