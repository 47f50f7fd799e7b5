//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// variant is one version of the library in fixtures/evolving.
type variant struct {
	Version  string
	Workers  []string
	Type     string
	Restart  int
	Settings map[string]string
	Fixed    map[string]string
	Init     string
	Release  string
}

// evolving is that program, made when it is needed for the first time.
var evolving = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pgx-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "evolving"), "./fixtures/evolving")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return os.ReadFile(filepath.Join(dir, "evolving"))
})

// evolvingLibrary is an executable that is replaced while a host runs.
type evolvingLibrary struct {
	t    *testing.T
	file string
}

func newEvolving(t *testing.T, first variant) (evolvingLibrary, hostOption) {
	t.Helper()
	dir := shortTempDir(t)
	l := evolvingLibrary{t, filepath.Join(dir, "evolving")}
	l.become(first)
	return l, withSetting("dynamic_library_path=" + dir + ":$libdir")
}

// become puts another version in the place of the file.
func (l evolvingLibrary) become(v variant) {
	l.t.Helper()
	program, err := evolving()
	if err != nil {
		l.t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	l.replace(string(program) + "\nVARIANT " + string(text))
}

func (l evolvingLibrary) replace(text string) {
	l.t.Helper()
	put(l.t, l.file+".new", text, 0o700)
	if err := os.Rename(l.file+".new", l.file); err != nil {
		l.t.Fatal(err)
	}
}

const preloadEvolving = "shared_preload_libraries=evolving"

// reload asks the host to load the library again.
func (h *testHost) reload(ctx context.Context, name string, patience time.Duration) (*control.Reloaded, error) {
	client, err := control.Dial(ctx, h.dir)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	r, err := client.Do(ctx, control.Request{Op: control.OpReload, Target: name, Wait: true, Limit: patience})
	return r.Reloaded, err
}

// mustReload is reload for one that has to succeed.
func (h *testHost) mustReload(name string) *control.Reloaded {
	h.t.Helper()
	r, err := h.reload(h.t.Context(), name, limit)
	if err != nil {
		h.t.Fatal(err)
	}
	if !r.Complete {
		h.t.Fatalf("it is not complete: %+v", r)
	}
	return r
}

// workers returns what ps shows.
func (h *testHost) workers() map[string]control.Worker {
	h.t.Helper()
	client, err := control.Dial(h.t.Context(), h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	defer client.Close()
	r, err := client.Do(h.t.Context(), control.Request{Op: control.OpPs})
	if err != nil {
		h.t.Fatal(err)
	}
	byName := make(map[string]control.Worker)
	for _, w := range r.Workers {
		byName[w.Name] = w
	}
	return byName
}

// outcomes shows what became of the workers, without pids.
func outcomes(r *control.Reloaded) string {
	var all []string
	for _, w := range r.Workers {
		text := w.Name + " " + string(w.State)
		if w.Changed {
			text += " changed"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func changes(r *control.Reloaded) string {
	var all []string
	for _, c := range r.Settings {
		all = append(all, fmt.Sprintf("%s %s: %q, %q", c.Name, c.Kind, c.Was, c.Is))
	}
	return strings.Join(all, "; ")
}

func wantReload(t *testing.T, r *control.Reloaded, workers, settings string) {
	t.Helper()
	if outcomes(r) != workers || changes(r) != settings {
		t.Errorf("got\n\t%s\n\t%s\nwant\n\t%s\n\t%s", outcomes(r), changes(r), workers, settings)
	}
}

func TestAReloadPutsTheNewFileInThePlaceOfTheOld(t *testing.T) {
	t.Parallel()
	for name, seconds := range map[string]int{"never restarting": plugins.NeverRestart, "restarting in an hour": 3600} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := variant{
				Version: "1", Workers: []string{"stays", "goes"}, Restart: seconds,
				Settings: map[string]string{"evolving.a": "one", "evolving.set": "x"}, Fixed: map[string]string{"evolving.fixed": "f1"},
			}
			lib, search := newEvolving(t, v)
			h := startHost(t, search, withSetting(preloadEvolving), withSetting("evolving.set=by hand"))
			h.waitLogCount(`LOG:  (stays|goes) of version 1 works$`, 2)
			before := h.workers()
			v.Version, v.Workers = "2", []string{"stays", "comes"}
			v.Settings = map[string]string{"evolving.a": "two", "evolving.b": "new"}
			v.Fixed["evolving.fixed"] = "f2"
			lib.become(v)
			r := h.mustReload("evolving")
			if outcomes(r) != "goes gone, stays restarted, comes new" && outcomes(r) != "stays restarted, goes gone, comes new" {
				t.Errorf("got %s", outcomes(r))
			}
			for _, line := range []string{`evolving.a changed: "one", "two"`, `evolving.b new: "", "new"`, `evolving.set gone: "by hand", ""`, `evolving.fixed changed: "f1", "f1"`} {
				if !strings.Contains(changes(r), line) {
					t.Errorf("the settings are\n%s", changes(r))
				}
			}
			if !r.Preloaded || r.Was == nil || r.Was.File != lib.file || r.Is.File != lib.file {
				t.Errorf("got %+v", r)
			}
			after := h.workers()
			now, was := after["stays"], before["stays"]
			if now.Slot != was.Slot || now.Generation != was.Generation || now.Pid == was.Pid || now.Restarts != 1 || len(after) != 2 || after["comes"].Pid == 0 {
				t.Errorf("got %+v, was %+v", after, before)
			}
			h.waitLog(`LOG:  stays of version 2 has evolving.a = two$`)
			h.waitLog(`LOG:  stays of version 2 has evolving.b = new$`)
			h.waitLog(`LOG:  comes of version 2 works$`)
			h.waitLog(`LOG:  parameter "evolving.fixed" cannot be changed without restarting the server$`)
			h.waitLog(`LOG:  library "evolving" was loaded again from `)
			wantReload(t, h.mustReload("evolving"), "stays restarted, comes restarted", "")
			h.stop()
		})
	}
}

func TestAChangedRegistrationReachesTheWorker(t *testing.T) {
	t.Parallel()
	v := variant{Version: "1", Workers: []string{"w"}, Type: "old type", Restart: plugins.NeverRestart}
	lib, search := newEvolving(t, v)
	h := startHost(t, search, withSetting(preloadEvolving))
	h.waitLog(`LOG:  w of version 1 works$`)
	v.Version, v.Type, v.Restart = "2", "new type", 0
	lib.become(v)
	wantReload(t, h.mustReload("evolving"), "w restarted changed", "")
	h.waitLog(`background worker "old type" \(PID \d+\) exited with exit code 1$`)
	h.waitLog(`LOG:  w of version 2 works$`)
	w := h.workers()["w"]
	if w.Type != "new type" {
		t.Errorf("got %+v", w)
	}
	h.kill(w.Pid) // it restarts now
	h.waitLog(`background worker "new type" \(PID \d+\) was terminated by signal 9`)
	h.waitLogCount(`LOG:  w of version 2 works$`, 2)
	h.stop()
}

// Whatever is wrong with the new file, the workers go on with the old one, and a
// file that is right is loaded after that.
func TestAnUnusableFileChangesNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		init, text, says string
		code             elog.SQLState
	}{
		"panics":  {"panics", "", `library "evolving" was not reloaded: library "evolving" panicked in its Init: in Init`, elog.InternalError},
		"exits":   {"exits", "", `exited with exit code 3`, elog.InternalError},
		"errors":  {"errors", "", `library "evolving" was not reloaded: could not initialize library "evolving": it does not like it here`, elog.FeatureNotSupported},
		"hangs":   {"hangs", "", `library "evolving" was not reloaded: its Init has not returned within 2s`, elog.InternalError},
		"garbage": {"", "garbage", `library "evolving" was not reloaded: could not load library "evolving": invalid ELF header`, elog.InternalError},
		"gone":    {"", "-", `library "evolving" was not reloaded: could not access file "evolving": No such file or directory`, elog.UndefinedFile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := variant{Version: "1", Workers: []string{"w"}, Settings: map[string]string{"evolving.a": "one"}}
			lib, search := newEvolving(t, v)
			h := startHost(t, search, withSetting(preloadEvolving), withSetting("library_init_timeout=2s"))
			h.waitLog(`LOG:  w of version 1 works$`)
			pid := h.workers()["w"].Pid
			broken := variant{Version: "2", Workers: []string{"w", "x"}, Settings: map[string]string{"evolving.a": "two"}, Init: tt.init}
			switch {
			case tt.text == "-":
				if err := os.Remove(lib.file); err != nil {
					t.Fatal(err)
				}
			case tt.text != "":
				lib.replace(tt.text)
			default:
				lib.become(broken)
			}
			_, err := h.reload(t.Context(), "evolving", limit)
			if err == nil || !strings.Contains(err.Error(), tt.says) || elog.CodeOf(err) != tt.code {
				t.Errorf("got %v (%s)", err, elog.CodeOf(err))
			}
			h.waitLog(`LOG:  library "evolving" was not reloaded: `)
			if now := h.workers(); len(now) != 1 || now["w"].Pid != pid {
				t.Errorf("the workers are %+v", now)
			}
			v.Version = "3"
			lib.become(v)
			wantReload(t, h.mustReload("evolving"), "w restarted", "")
			h.waitLog(`LOG:  w of version 3 has evolving.a = one$`)
			h.stop()
		})
	}
}

func TestALibraryThatWasLeftOutIsBroughtIn(t *testing.T) {
	t.Parallel()
	lib, search := newEvolving(t, variant{Init: "panics"})
	h := startHost(t, search, withSetting(preloadEvolving), withSetting("evolving.a=set"))
	h.waitLog(`HINT:  Its settings and its static workers are missing until "pgexthost plugin reload evolving" succeeds`)
	lib.become(variant{Version: "2", Workers: []string{"w"}, Settings: map[string]string{"evolving.a": "default"}})
	r := h.mustReload("evolving")
	wantReload(t, r, "w new", `evolving.a new: "", "set"`)
	if r.Was != nil || !r.Preloaded {
		t.Errorf("got %+v", r)
	}
	h.waitLog(`LOG:  w of version 2 has evolving.a = set$`)
	h.kill(h.workers()["w"].Pid) // static workers stay, with the settings of the library
	h.waitLogCount(`LOG:  w of version 2 has evolving.a = set$`, 2)
	h.stop()
}

// Of a library that is not preloaded, the workers are drained, and its Init has no
// say but whether it can run.
func TestTheWorkersOfALibraryThatIsNotPreloadedAreDrained(t *testing.T) {
	t.Parallel()
	v := variant{Version: "1"}
	lib, search := newEvolving(t, v)
	h := startHost(t, search, withWorkers(
		plugins.BackgroundWorker{Name: "by name", LibraryName: "evolving", FunctionName: "work", RestartTime: plugins.NeverRestart},
		plugins.BackgroundWorker{Name: "by path", LibraryName: lib.file, FunctionName: "work", RestartTime: 3600},
		plugins.BackgroundWorker{Name: "done", LibraryName: "evolving", FunctionName: "finish", RestartTime: 0},
		plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"},
	))
	h.waitLogCount(`LOG:  .* of version 1 works$`, 3)
	h.waitLog(`LOG:  bystander waits$`)
	before := h.workers()
	v.Version, v.Workers = "2", []string{"static"}
	lib.become(v)
	r := h.mustReload("evolving")
	wantReload(t, r, "by name restarted, by path restarted, done done", "")
	h.waitLogCount(`LOG:  .* of version 2 works$`, 2)
	if after := h.workers(); r.Preloaded || after["bystander"].Pid != before["bystander"].Pid || len(after) != 3 {
		t.Errorf("got %+v, %+v", r, after)
	}
	v.Init = "errors"
	lib.become(v)
	if _, err := h.reload(t.Context(), "evolving", limit); err == nil {
		t.Error("an unusable file was taken")
	}
	for _, name := range []string{"nonsense", "", "postgres", "a\nb"} {
		if _, err := h.reload(t.Context(), name, limit); err == nil {
			t.Errorf("%q was reloaded", name)
		}
	}
	h.stop()
}

// Draining takes as long as it takes; who waits is told who has not ended yet, and
// the next reload does not confuse anything.
func TestAReloadSaysWhoIsStillDraining(t *testing.T) {
	t.Parallel()
	release := filepath.Join(shortTempDir(t), "release")
	v := variant{Version: "1", Workers: []string{"slow"}, Restart: plugins.NeverRestart, Release: release}
	lib, search := newEvolving(t, v)
	h := startHost(t, search, withSetting(preloadEvolving))
	h.waitLog(`LOG:  slow of version 1 works$`)
	pid := h.workers()["slow"].Pid
	for i := range 2 {
		lib.become(variant{Version: fmt.Sprint(i + 2), Workers: []string{"slow"}, Restart: plugins.NeverRestart})
		r, err := h.reload(t.Context(), "evolving", 3*time.Second)
		if err != nil {
			if !strings.Contains(err.Error(), "timed out") { // on a busy machine, the Init itself
				t.Fatal(err)
			}
			h.waitLogCount(`LOG:  library "evolving" was loaded again`, i+1)
			continue
		}
		if r.Complete || outcomes(r) != "slow draining" || r.Workers[0].Pid != pid {
			t.Errorf("got %+v", r)
		}
	}
	put(t, release, "", 0o600)
	h.waitLog(`LOG:  slow of version 3 works$`)
	if h.count(`of version 2 works`) != 0 {
		t.Error("it was started twice")
	}
	h.stop()
}

func TestASlotThatAVanishedWorkerLeavesIsForTheNewOne(t *testing.T) {
	t.Parallel()
	v := variant{Version: "1", Workers: []string{"old", "stays"}}
	lib, search := newEvolving(t, v)
	h := startHost(t, search, withSetting(preloadEvolving), withSetting("max_worker_processes=2"))
	h.waitLogCount(`LOG:  (old|stays) of version 1 works$`, 2)
	v.Version, v.Workers = "2", []string{"stays", "new"}
	lib.become(v)
	if r := h.mustReload("evolving"); !strings.Contains(outcomes(r), "new new") {
		t.Errorf("got %s", outcomes(r))
	}
	v.Version, v.Workers = "3", []string{"stays", "new", "too many"}
	lib.become(v)
	if r := h.mustReload("evolving"); !strings.Contains(outcomes(r), "too many refused") {
		t.Errorf("got %s", outcomes(r))
	}
	h.waitLog(`LOG:  too many background workers$`)
	h.stop()
}

// Slots that dynamic workers have are not there for new static ones.
func TestANewStaticWorkerWithoutASlotIsRefused(t *testing.T) {
	t.Parallel()
	lib, search := newEvolving(t, variant{Version: "1"})
	h := startHost(t, search, withSetting("max_worker_processes=2"), withWorkers(
		plugins.BackgroundWorker{Name: "one", FunctionName: "wait"}, plugins.BackgroundWorker{Name: "two", FunctionName: "wait"},
	), withSetting("shared_preload_libraries=faults, evolving"))
	h.waitLogCount(`LOG:  (one|two) waits$`, 2)
	lib.become(variant{Version: "2", Workers: []string{"w"}})
	wantReload(t, h.mustReload("evolving"), "w refused", "")
	h.stop()
}

func TestACompiledInLibraryIsReloadedFromTheSameProgram(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait", RestartTime: plugins.NeverRestart}))
	h.waitLog(`LOG:  w waits$`)
	r := h.mustReload("faults")
	wantReload(t, r, "w restarted", "")
	if r.Is.CompiledIn != "faults" {
		t.Errorf("got %+v", r)
	}
	h.waitLogCount(`LOG:  w waits$`, 2)
	h.stop()
}

// Two reloads at once come one after the other.
func TestReloadsAtTheSameTimeAreServedInTurn(t *testing.T) {
	t.Parallel()
	lib, search := newEvolving(t, variant{Version: "1", Workers: []string{"w"}})
	h := startHost(t, search, withSetting(preloadEvolving))
	h.waitLog(`LOG:  w of version 1 works$`)
	lib.become(variant{Version: "2", Workers: []string{"w"}})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if r, err := h.reload(t.Context(), "evolving", limit); err != nil || !r.Complete {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
	all.Wait()
	if n := h.count(`LOG:  library "evolving" was loaded again`); n != 4 {
		t.Errorf("it was loaded %d times", n)
	}
	h.stop()
}
