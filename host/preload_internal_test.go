package host

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// preloadHost returns a host without processes, with an empty store but for
// library_init_timeout.
func preloadHost(ctx context.Context, t *testing.T) *host {
	t.Helper()
	h := newHost(ctx, Options{}, nil)
	h.children = &children{byID: map[postmaster.ChildID]*process{}, records: make([]bool, 1)}
	h.store = guc.NewStore(settings.Definitions()...)
	if err := h.store.Override(settings.LibraryInitTimeout, "3s"); err != nil {
		t.Fatal(err)
	}
	return h
}

// A process that a library has left behind may still hold its socket.
func TestALateResultIsNotTakenForThatOfTheNextLibrary(t *testing.T) {
	h := preloadHost(t.Context(), t)
	former, next := h.newPreloadWait(preloadChild, "former", nil), h.newPreloadWait(preloadChild, "next", nil)
	former.end, former.stop = &postmaster.Exited{}, errPreloadStopped()
	h.preloadEvent(next, preloaded{wait: former, result: handshake.PreloadResult{Reserved: []string{"forged"}}})
	h.preloadEvent(next, tooLate{former})
	if next.got != nil || next.stop != nil {
		t.Fatalf("got %+v", next)
	}
	h.preloadEvent(next, preloaded{wait: next})
	if next.got == nil {
		t.Error("its own result is ignored, too")
	}
}

// Looking at a file can hang for ever, on a dead file system, and nothing can put an
// end to that. Then there can be no host, but it can still be told to stop.
func TestAStartEndsThoughTheSearchForALibraryDoesNot(t *testing.T) {
	for name, tt := range map[string]struct {
		stopAfter time.Duration
		code      elog.SQLState
		within    time.Duration
	}{
		"by itself":            {time.Hour, elog.InternalError, 3*time.Second + goneGrace},
		"by a signal":          {time.Second, elog.AdminShutdown, time.Second + goneGrace},
		"by a signal too late": {4 * time.Second, elog.AdminShutdown, 3*time.Second + goneGrace},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), tt.stopAfter)
			defer cancel()
			h := preloadHost(ctx, t)
			begin := time.Now()
			_, err := h.awaitPreload(h.newPreloadWait(preloadChild, "lib", func() {})) // whose start nobody answers
			if elog.CodeOf(err) != tt.code || time.Since(begin) != tt.within || errors.As(err, new(leftOut)) {
				t.Errorf("%s: got %v after %v", name, err, time.Since(begin))
			}
		})
	}
}

// Not while it runs, nor when it is gone and only its last words are awaited.
func TestAStopWhilePreloadingIsNotLost(t *testing.T) {
	h := preloadHost(t.Context(), t)
	w := h.newPreloadWait(preloadChild, "lib", nil)
	ours, theirs, err := newSocketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	w.process = &process{socket: ours}
	defer w.close()
	w.exited(postmaster.Exited{})
	w.tooLate() // it is not Init that takes its time
	if w.over() {
		t.Fatalf("got %v", w.stop)
	}
	w.abort(errPreloadStopped())
	if _, err := w.outcome(); !w.over() || elog.CodeOf(err) != elog.AdminShutdown {
		t.Errorf("got %v", err)
	}
}

// busy answers a start as the spawner does for a file that is being written to.
func busy(h *host) {
	lib := &foundLibrary{Library: handshake.Library{Name: "lib", File: "/lib"}}
	go h.post(started{child: preloadChild, index: -1, result: spawned{err: osError{unix.ETXTBSY}, library: lib}})
}

func TestABusyLibraryIsTriedAgainAtTheStart(t *testing.T) {
	for name, tt := range map[string]struct {
		stopAfter time.Duration
		code      elog.SQLState
		attempts  int
		within    time.Duration
	}{
		"until it has taken too long": {time.Hour, elog.InternalError, int(busyLimit/busyPause) + 2, busyLimit + busyPause},
		"until the host is stopped":   {busyPause + time.Millisecond, elog.AdminShutdown, 2, busyPause + time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), tt.stopAfter)
			defer cancel()
			h := preloadHost(ctx, t) // an Init may take less than all attempts together
			begin, attempts := time.Now(), 0
			_, err := h.awaitPreload(h.newPreloadWait(preloadChild, "lib", func() { attempts++; busy(h) }))
			if elog.CodeOf(err) != tt.code || attempts != tt.attempts || time.Since(begin) != tt.within {
				t.Errorf("%s: got %v after %v and %d attempts", name, err, time.Since(begin), attempts)
			}
		})
	}
}

// reloadHost returns a host that is asked to load a library again, and where it asks
// for processes.
func reloadHost(t *testing.T) (*host, <-chan spawnRequest) {
	t.Helper()
	path, err := os.MkdirTemp("", "pgx-") // a socket in it has a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	h := newHost(t.Context(), Options{}, elog.NewLogger(io.Discard))
	if err := Init(path, ""); err != nil {
		t.Fatal(err)
	}
	if h.dir, err = openDataDir(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.tearDown)
	if err := errors.Join(h.lockDirectory(), h.useSettings(nil), h.makeSharedMemory()); err != nil {
		t.Fatal(err)
	}
	h.children.spawner.close()
	h.children.spawner = &spawner{requests: make(chan spawnRequest), quit: make(chan struct{})}
	h.machine = postmaster.New(postmaster.Config{Slots: coreSlots{h}})
	h.step(postmaster.Started{})
	h.reloading = &libraryReload{id: 1, name: "lib"}
	h.step(postmaster.LibraryReloadRequested{Name: "lib"})
	return h, h.children.spawner.requests
}

// receive waits for what must come.
func receive[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
	}
	return v
}

func TestAReloadTriesABusyFileAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(*host)
		says      string
		code      elog.SQLState
	}{
		"until it fails otherwise": {
			func(*host) {},
			`library "lib" was not reloaded: could not load library "lib": Permission denied`, elog.InsufficientPrivilege,
		},
		"until the host is stopped": {
			func(h *host) { h.shutDown(postmaster.FastShutdown) },
			`library "lib" was not reloaded: the host is shutting down`, elog.CannotConnectNow,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, requests := reloadHost(t)
			lib := &foundLibrary{Library: handshake.Library{Name: "lib", File: "/lib"}}
			first := receive(t, requests)
			go first.done(spawned{err: osError{unix.ETXTBSY}, library: lib})
			h.dispatch(receive(t, h.events))
			if h.reloaded != nil {
				t.Fatalf("got %+v", h.reloaded)
			}
			tt.meanwhile(h)
			h.dispatch(receive(t, h.events)) // the pause is over
			if h.reloading != nil {
				second := receive(t, requests)
				go second.done(spawned{err: osError{unix.EACCES}, library: lib})
				h.dispatch(receive(t, h.events))
			}
			if h.reloaded == nil || h.reloaded.Error == nil || h.reloaded.Error.Error() != tt.says || elog.CodeOf(h.reloaded.Error) != tt.code {
				t.Errorf("got %+v", h.reloaded)
			}
		})
	}
}

func TestAFailedExecIsAFailureToLoadTheLibrary(t *testing.T) {
	r := spawnRequest{path: "/no/such/file"}
	result := r.start()
	result.library = &foundLibrary{Library: handshake.Library{Name: "lib", File: r.path}}
	err := notStarted("lib", result)
	if err.Error() != `could not load library "lib": could not execute "/no/such/file": No such file or directory` || elog.CodeOf(err) != elog.UndefinedFile || !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v, %s", err, elog.CodeOf(err))
	}
	var report *elog.ErrorData
	if err := explainMissing("/bin/sh", result.err); !errors.As(err, &report) || report.Hint == "" || report.Message != result.err.Error() || transient(err) {
		t.Errorf("got %#v", err)
	}
	if err := explainMissing(r.path, result.err); err != result.err { //nolint:errorlint // the very same
		t.Errorf("got %v", err)
	}
	busy := notStarted("lib", spawned{err: osError{unix.ETXTBSY}, library: result.library})
	if !errors.Is(busy, unix.ETXTBSY) {
		t.Errorf("got %v, which nobody tries again", busy)
	}
}

func TestSeveralNamesOfOneFileAreOneLibrary(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	look := func(name string) *foundLibrary {
		is, err := library.IdentityOf(file(name))
		if err != nil {
			t.Fatal(err)
		}
		return &foundLibrary{places: placesOf(file(name), is)}
	}
	make := func(name string) error { return os.WriteFile(file(name), []byte("a library"), 0o700) }
	if err := errors.Join(make("one"), os.Symlink("one", file("link")), os.Link(file("one"), file("other")), make("another")); err != nil {
		t.Fatal(err)
	}
	one, other := look("one"), look("other")
	if !one.is(one) || !one.is(look("link")) || !look("link").is(one) || !one.is(other) || !other.is(look("link")) {
		t.Error("a name makes a difference")
	}
	if one.is(look("another")) || one.is(&foundLibrary{}) || (&foundLibrary{}).is(&foundLibrary{}) {
		t.Error("another file is the same")
	}
	if err := errors.Join(make("new"), os.Rename(file("new"), file("one"))); err != nil { // an upgrade
		t.Fatal(err)
	}
	if !one.is(look("one")) || !one.is(look("link")) {
		t.Error("the new version of the file is another library")
	}
	if look("one").is(look("other")) {
		t.Error("the old version of the file is the new library")
	}
	is, err := library.IdentityOf(file("other"))
	if err != nil {
		t.Fatal(err)
	}
	is.MTime++ // the old file is gone, and another got its number
	if one.is(&foundLibrary{places: placesOf(file("another"), is)}) {
		t.Error("who gets the number of a removed file takes its place")
	}
}
