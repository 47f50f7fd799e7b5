package control

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// announce writes what the host says of libraries.
func announce(t *testing.T, l Libraries) {
	t.Helper()
	text, err := json.Marshal(l)
	if err == nil {
		err = os.WriteFile(LibrariesFileName, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func announced(number uint64, name string) AnnouncedWorker {
	w := plugins.BackgroundWorker{Name: name, Flags: plugins.ShmemAccess, LibraryName: "lib", FunctionName: "main"}
	return AnnouncedWorker{Number: number, Worker: w.Descriptor()}
}

func registered(f *fakeWorker) (names []string) {
	for _, w := range f.BackgroundWorkers() {
		names = append(names, w.Entry.Name)
	}
	return names
}

func wantRegistered(t *testing.T, f *fakeWorker, want ...string) {
	t.Helper()
	if got := registered(f); len(got) != len(want) {
		t.Fatalf("registered are %v, want %v", got, want)
	}
	for i, name := range registered(f) {
		if name != want[i] {
			t.Errorf("registered are %v, want %v", registered(f), want)
		}
	}
}

func TestWhatIsAnnouncedIsRegisteredOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	f := &fakeWorker{}
	c := newClaims(f)
	c.advance() // there is no file
	announce(t, Libraries{Announced: []AnnouncedWorker{announced(1, "one")}})
	c = newClaims(f) // of another process, that finds what was left to do
	c.advance()
	wantRegistered(t, f, "one")

	f.answered = 7 // the first one has not been noticed yet
	announce(t, Libraries{Reload: &Reload{ID: 7}, Announced: []AnnouncedWorker{announced(1, "one"), announced(2, "one")}})
	c.advance()
	c.advance()
	wantRegistered(t, f, "one", "one")
	if _, revoked, made := c.of(2); !made || revoked {
		t.Error("it is not said to be registered")
	}
}

func TestAnAnnouncementWaitsForThoseThatLeave(t *testing.T) {
	t.Chdir(t.TempDir())
	f := &fakeWorker{full: true, workers: []plugins.WorkerInfo{{Slot: 3, Generation: 5}}}
	gone := []ReloadedWorker{{Slot: 3, Generation: 5, Fate: postmaster.FateGone}}
	announce(t, Libraries{Reload: &Reload{ID: 1, Workers: gone}, Announced: []AnnouncedWorker{announced(1, "one")}})
	c := newClaims(f)
	f.answered = 1
	if !c.advance() {
		t.Error("it does not wait")
	}
	f.workers[0].Generation++ // it has left, and another has its slot
	if c.advance() {
		t.Error("it waits for nobody")
	}
	if outcome, _, made := c.of(1); !made || !errors.Is(outcome.err, plugins.ErrNoSlot) {
		t.Errorf("got %v", outcome.err)
	}
}

func TestALaterReloadRevokesWhatStillWaits(t *testing.T) {
	t.Chdir(t.TempDir())
	f := &fakeWorker{full: true, workers: []plugins.WorkerInfo{{Slot: 3}}}
	gone := []ReloadedWorker{{Slot: 3, Fate: postmaster.FateGone}}
	announce(t, Libraries{Reload: &Reload{ID: 1, Workers: gone}, Announced: []AnnouncedWorker{announced(1, "one")}})
	f.answered = 1
	c := newClaims(f)
	c.advance()
	if _, revoked, made := c.of(1); made || revoked {
		t.Error("it does not wait")
	}
	f.full, f.answered = false, 2
	announce(t, Libraries{Reload: &Reload{ID: 2}, Announced: []AnnouncedWorker{announced(2, "two")}})
	c.advance()
	wantRegistered(t, f, "", "two")
	if _, revoked, made := c.of(1); made || !revoked {
		t.Error("it still waits")
	}
}

// What a slot tells before the postmaster has seen the registration is the past of
// the worker that had it before.
func TestANewWorkerIsNotTakenForItsPredecessor(t *testing.T) {
	t.Chdir(t.TempDir())
	f := &fakeWorker{server: shmem.ServerReadWrite}
	announce(t, Libraries{Announced: []AnnouncedWorker{announced(1, "one")}})
	s := &server{worker: f, claims: newClaims(f)}
	follows := follower{server: s, answer: &Reload{Workers: []ReloadedWorker{{Announced: 1, Slot: -1, Fate: postmaster.FateNew}}}}
	s.claims.advance()
	past := time.Now().Add(-time.Hour)
	f.workers[0].WorkerHistory = plugins.WorkerHistory{Registered: past, Started: past, Message: "it had a predecessor"}
	follows.look()
	if got := follows.states[0]; got.State != OutcomeDraining || follows.complete() {
		t.Errorf("got %+v", got)
	}
	f.workers[0].WorkerHistory = plugins.WorkerHistory{Registered: time.Now(), Started: time.Now(), Message: "its own"}
	follows.look()
	if got := follows.states[0]; got.State != OutcomeWaiting || got.Reason != "it has ended again: its own" {
		t.Errorf("got %+v", got)
	}
}

// Who waits for nothing still asks, unless it is somebody else's turn.
func TestAReloadIsAskedForThoughNobodyWaits(t *testing.T) {
	asked := 0
	f := &fakeWorker{reload: func(string) (uint64, error) { asked++; return 1, nil }}
	s := &server{worker: f, claims: newClaims(f), reload: make(chan struct{}, 1), news: make(chan struct{})}
	for range 100 { // there is a choice to be made
		_, err := s.reloadLibrary(t.Context(), Request{Target: "lib"})
		if report := elog.AsErrorData(err, elog.Error); !strings.HasPrefix(report.Detail, "The reload goes on") {
			t.Fatalf("got %v", err)
		}
	}
	s.reload <- struct{}{}
	_, err := s.reloadLibrary(t.Context(), Request{Target: "lib"})
	if report := elog.AsErrorData(err, elog.Error); report.Detail != "This one is not reloaded." {
		t.Errorf("got %v", err)
	}
	if asked != 100 {
		t.Errorf("it was asked for %d times", asked)
	}
}
