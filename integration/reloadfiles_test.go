//go:build linux

package integration

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
)

func TestAProcessThatAnInitHasStartedEndsWithTheReload(t *testing.T) {
	t.Parallel()
	v := variant{Version: "1", Workers: []string{"w"}}
	lib, search := newEvolving(t, v)
	h := startHost(t, search, withSetting(preloadEvolving))
	h.waitLog(`LOG:  w of version 1 works$`)
	v.Init = "leaves"
	lib.become(v)
	wantReload(t, h.mustReload("evolving"), "w restarted", "")
	h.awaitEnd(h.leftBehind())
	h.stop()
}

// An installation that writes to the file may be about to end.
func TestAReloadWaitsForAFileThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	v := variant{Version: "1", Workers: []string{"w"}}
	lib, search := newEvolving(t, v)
	h := startHost(t, search, withSetting(preloadEvolving))
	h.waitLog(`LOG:  w of version 1 works$`)
	v.Version = "2"
	lib.become(v)
	writer, err := os.OpenFile(lib.file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(500*time.Millisecond, func() { _ = writer.Close() })
	defer timer.Stop()
	wantReload(t, h.mustReload("evolving"), "w restarted", "")
	h.waitLog(`LOG:  w of version 2 works$`)
	h.stop()
}

func TestAReloadByAnyNameOfTheFileIsThatOfTheLibrary(t *testing.T) {
	t.Parallel()
	v := variant{Version: "1", Workers: []string{"static"}}
	lib, search := newEvolving(t, v)
	dir := filepath.Dir(lib.file)
	if err := errors.Join(os.Symlink("evolving", filepath.Join(dir, "link")), os.Link(lib.file, filepath.Join(dir, "other"))); err != nil {
		t.Fatal(err)
	}
	worker := func(name, library string) plugins.BackgroundWorker {
		return plugins.BackgroundWorker{Name: name, LibraryName: library, FunctionName: "work", RestartTime: plugins.NeverRestart}
	}
	h := startHost(t, search, withWorkers(worker("by link", "link"), worker("by slashes", dir+"//./evolving"), worker("by another name", "other")),
		withSetting("shared_preload_libraries=faults, evolving"))
	h.waitLogCount(`LOG:  .* of version 1 works$`, 4)
	v.Version = "2"
	lib.become(v)
	const theSame = "by link restarted, by slashes restarted, "
	for _, tt := range []struct{ name, workers string }{
		{"link", theSame + "by another name restarted, static restarted"},
		{dir + "//./evolving", theSame + "static restarted"}, // the other name is still that of the old file
		{"evolving", theSame + "static restarted"},
	} {
		r := h.mustReload(tt.name)
		wantReload(t, r, tt.workers, "")
		if !r.Preloaded {
			t.Errorf("%s: got %+v", tt.name, r)
		}
	}
	h.waitLog(`LOG:  by link of version 2 works$`)
	h.waitLog(`LOG:  by slashes of version 2 works$`)
	h.waitLogCount(`LOG:  by another name of version 1 works$`, 2)
	h.stop()
	if n := h.count(`must be registered in "shared_preload_libraries"$`); n != 1 {
		t.Errorf("the Init of %d processes did not count as preloaded, instead of that of the old file", n)
	}
}
