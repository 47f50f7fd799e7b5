package integration

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
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
