package launcher

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const number = 7<<32 | 1

func pending() row {
	return row{ID: 1, Number: number, Worker: plugins.BackgroundWorker{RestartTime: plugins.NeverRestart}}
}

func started(ours bool) row {
	r := pending()
	r.Started, r.Ours, r.Handle, r.Pid = true, ours, plugins.Handle{}.String(), 5
	return r
}

func with(r row, change func(r *row)) row {
	change(&r)
	return r
}

func having(workers ...plugins.WorkerInfo) host {
	return host{workers: map[int64][]plugins.WorkerInfo{number: workers}}
}

func gone(h plugins.WorkerHistory) host {
	return host{gone: map[int64]plugins.UnregisteredWorker{number: {At: now, WorkerHistory: h}}}
}

func TestThePlanLeadsEachRequestOneStepOn(t *testing.T) {
	var (
		held     = plugins.WorkerInfo{State: plugins.WorkerRunning, Pid: 5, Held: true}
		running  = plugins.WorkerInfo{State: plugins.WorkerRunning, Pid: 5}
		starting = plugins.WorkerInfo{State: plugins.WorkerNotYetStarted, Held: true}
		dying    = plugins.WorkerInfo{State: plugins.WorkerRunning, Pid: 5, WorkerHistory: plugins.WorkerHistory{Terminated: true}}
		another  = plugins.WorkerInfo{State: plugins.WorkerRunning, Pid: 6}
		end      = func(r *row) { r.Terminate = true }
		again    = func(r *row) { r.Worker.RestartTime = 0 }
		tried    = attempt{at: now.Add(-time.Millisecond), tries: 1}
		longAgo  = attempt{at: now.Add(-time.Minute), tries: 1}
	)
	another.Handle, _ = plugins.ParseHandle("0000000000000001.0.1")
	alien := held
	alien.Entry.MainArg = 1
	foreignName := held
	foreignName.Entry.Name, foreignName.Entry.Type = "??", "??" // as the slots have it
	for name, tt := range map[string]struct {
		host  host
		row   row
		tried attempt
		since time.Duration
		fresh bool // main has not begun
		do    what
		state string
	}{
		"a pending request is registered":                             {row: pending(), do: register},
		"once":                                                        {row: pending(), tried: tried},
		"and again if that came to nothing":                           {row: pending(), tried: longAgo, do: register},
		"one that can't be a worker has failed":                       {row: with(pending(), func(r *row) { r.Refusal = "no" }), do: settle, state: "failed"},
		"a process is waited for":                                     {host: having(starting), row: pending()},
		"a held process is claimed":                                   {host: having(held), row: pending(), do: claim},
		"a released one is, if the table has forgotten it":            {host: having(running), row: pending(), do: claim},
		"whatever its name":                                           {host: having(foreignName), row: with(pending(), func(r *row) { r.Worker.Name = "ü" }), do: claim},
		"one that does something else is not":                         {host: having(alien), row: pending()},
		"one that is ended is not":                                    {host: having(dying), row: pending()},
		"no program is for good":                                      {host: gone(plugins.WorkerHistory{Message: "no such file", ExitCode: 1}), row: pending(), tried: tried, do: settle, state: "failed"},
		"a killed process is not":                                     {host: gone(plugins.WorkerHistory{ExitSignal: unix.SIGKILL}), row: pending(), tried: longAgo, do: register},
		"what was claimed is released":                                {host: having(held), row: started(true), do: release},
		"unless it is to end":                                         {host: having(held), row: with(started(true), end), do: terminate},
		"what runs is left alone":                                     {host: having(running), row: started(true)},
		"until it is to end":                                          {host: having(running), row: with(started(true), end), do: terminate},
		"what is ended is not ended again":                            {host: having(dying), row: with(started(true), end)},
		"a new pid is noted":                                          {host: having(running), row: with(started(true), func(r *row) { r.Pid = 4 }), do: note},
		"what is missing is looked for":                               {row: started(true), since: time.Millisecond},
		"and given up":                                                {row: started(true), since: time.Minute, do: settle, state: "ended"},
		"another's worker is not its own":                             {host: having(another), row: started(true), since: time.Minute, do: settle, state: "ended"},
		"exit code 0 is an end":                                       {host: gone(plugins.WorkerHistory{}), row: started(true), do: settle, state: "ended"},
		"exit code 1 is a failure":                                    {host: gone(plugins.WorkerHistory{ExitCode: 1, SQLState: "22012"}), row: started(true), do: settle, state: "failed"},
		"but not if it was wanted":                                    {host: gone(plugins.WorkerHistory{ExitCode: 1}), row: with(started(true), end), do: settle, state: "ended"},
		"a signal is a failure":                                       {host: gone(plugins.WorkerHistory{ExitSignal: unix.SIGSEGV}), row: started(true), do: settle, state: "failed"},
		"what an earlier incarnation ran has failed":                  {row: started(false), do: settle, state: "failed"},
		"unless its main has not begun":                               {row: started(false), fresh: true, do: register},
		"but a copy's knows nothing of that":                          {row: with(started(false), func(r *row) { r.Foreign = true }), fresh: true, do: settle, state: "failed"},
		"one that was killed before main is started again":            {host: gone(plugins.WorkerHistory{ExitSignal: unix.SIGKILL}), row: started(true), fresh: true, do: register},
		"and claimed":                                                 {host: having(another), row: started(true), since: time.Minute, fresh: true, do: claim},
		"unless somebody has ended it":                                {host: gone(plugins.WorkerHistory{ExitCode: 1, Terminated: true}), row: started(true), fresh: true, do: settle, state: "ended"},
		"or it has no function":                                       {host: gone(plugins.WorkerHistory{ExitCode: 1, Message: "could not find function"}), row: started(true), tried: tried, fresh: true, do: settle, state: "failed"},
		"unless it was to end":                                        {row: with(started(false), end), do: settle, state: "ended"},
		"unless it restarts":                                          {row: with(started(false), again), do: register},
		"and does so held":                                            {host: having(held), row: with(started(false), again), do: claim},
		"but not if it was to end":                                    {row: with(with(started(false), again), end), do: settle, state: "ended"},
		"a restarted one of this incarnation is not registered again": {host: having(plugins.WorkerInfo{State: plugins.WorkerWaiting}), row: with(started(true), again)},
	} {
		t.Run(name, func(t *testing.T) {
			tt.host.begun = func(string) bool { return !tt.fresh }
			if got := tt.host.plan(tt.row, tt.tried, now, tt.since); got.do != tt.do || got.state != tt.state {
				t.Errorf("got %+v, want %d %q", got, tt.do, tt.state)
			}
		})
	}
}

func TestWhatNoRowStandsForIsEnded(t *testing.T) {
	h, _ := plugins.ParseHandle("0000000000000001.0.1")
	w := plugins.WorkerInfo{State: plugins.WorkerRunning, Pid: 5, Handle: h}
	mine := with(started(true), func(r *row) { r.Handle = h.String() })
	for name, tt := range map[string]struct {
		rows   []row
		strays int
	}{
		"no row":                     {nil, 1},
		"another's row":              {[]row{with(mine, func(r *row) { r.ID, r.Number = 2, number+1 })}, 1},
		"its row":                    {[]row{mine}, 0},
		"a pending row":              {[]row{pending()}, 0},
		"one for something else":     {[]row{with(pending(), func(r *row) { r.Worker.MainArg = 1 })}, 1},
		"a row with another handle":  {[]row{started(true)}, 1},
		"unless it may be claimed":   {[]row{with(started(true), func(r *row) { r.Worker.RestartTime = 1 })}, 0},
		"a row that restarts":        {[]row{with(started(false), func(r *row) { r.Worker.RestartTime = 1 })}, 0},
		"a row that has failed with": {[]row{started(false)}, 1},
	} {
		if got := having(w).strays(tt.rows); len(got) != tt.strays {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if got := having(w, w).strays([]row{pending()}); len(got) != 1 {
		t.Errorf("of two workers of a pending request %d are ended", len(got))
	}
}

func TestNumbersTellDatabasesApart(t *testing.T) {
	for _, database := range []uint32{1, 16384, 1<<31 - 1, 1<<32 - 1} {
		for _, id := range []int64{1, 1<<32 - 1, 1 << 32, 1<<62 + 5} {
			n := numberOf(id, database)
			if n <= 0 && id&0xffffffff != 0 || !isOf(n, database) || isOf(n, database-1) || isOf(0, database) {
				t.Errorf("database %d, request %d: %d", database, id, n)
			}
		}
	}
}

func TestACopiedDirectoryIsAnotherHosts(t *testing.T) {
	dir := t.TempDir()
	id, err := hostIdentity(dir)
	if err != nil || len(id) != 36 {
		t.Fatalf("%q, %v", id, err)
	}
	if again, err := hostIdentity(dir); err != nil || again != id {
		t.Errorf("got %q, %v", again, err)
	}
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	other, err := hostIdentity(copied)
	if err != nil || other == id {
		t.Errorf("the copy has %q, %v", other, err)
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if again, err := hostIdentity(moved); err != nil || again != id {
		t.Errorf("moved, it has %q, %v", again, err)
	}
	if err := os.WriteFile(filepath.Join(moved, identityFile), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := hostIdentity(moved); err != nil || again == id || len(again) != 36 {
		t.Errorf("damaged, it has %q, %v", again, err)
	}
}

func TestOnlyAnIncarnationOfThisBootIsKnownNotToHaveBegun(t *testing.T) {
	dir := t.TempDir()
	const earlier, now = "00000000000000aa", "00000000000000bb"
	if _, err := openJournal(dir, earlier); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(dir, now)
	if err != nil || len(j.boot) == 0 {
		t.Fatal(err)
	}
	leave := func(name, text string) {
		if err := os.WriteFile(filepath.Join(j.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave(earlier+".1.1", "")
	leave("00000000000000cc.boot", "another boot")
	for handle, want := range map[string]bool{
		earlier + ".1.1": true, earlier + ".1.2": false, now + ".1.1": false, "00000000000000cc.1.1": true, "00000000000000dd.1.1": true, "": true, "x/y": true,
	} {
		if got := j.begun(handle); got != want {
			t.Errorf("%q: %v", handle, got)
		}
	}
	j.forget([]change{{old: earlier + ".1.1", foreign: true, step: step{do: settle}}, {old: earlier + ".1.1", step: step{do: note}}})
	if !j.begun(earlier + ".1.1") {
		t.Error("it was forgotten too early")
	}
	j.forget([]change{{old: earlier + ".1.1", step: step{do: settle}}})
	if j.begun(earlier + ".1.1") {
		t.Error("it was not forgotten")
	}
	leave(earlier+".1.3", "")
	long := time.Now().Add(-2 * keepJournal)
	if err := os.Chtimes(filepath.Join(j.dir, earlier+".boot"), long, long); err != nil {
		t.Fatal(err)
	}
	j.sweep()
	if left, _ := filepath.Glob(filepath.Join(j.dir, earlier+"*")); len(left) != 0 || !j.begun(earlier+".1.2") {
		t.Errorf("left: %v", left)
	}
}

// A file that is cut short when its writer is killed would make requests count as
// begun that are not.
func TestALaterLauncherOfAnIncarnationDoesNotWriteItsBootAgain(t *testing.T) {
	dir := t.TempDir()
	const incarnation = "00000000000000aa"
	j, err := openJournal(dir, incarnation)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(j.dir, incarnation+bootSuffix)
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(dir, incarnation); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(file)
	if err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("it was written again: %v", err)
	}
	if err := os.Truncate(file, 0); err != nil { // by an older version that was killed
		t.Fatal(err)
	}
	if j, err = openJournal(dir, incarnation); err != nil || j.begun(incarnation+".1.1") {
		t.Errorf("the boot is not known: %v", err)
	}
	if left, err := os.ReadDir(j.dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// An incarnation is as old as its beginning, but may have ended just now.
func TestAnIncarnationThatHasLivedLongIsNotForgottenAtItsEnd(t *testing.T) {
	dir := t.TempDir()
	const first, second, third = "00000000000000aa", "00000000000000bb", "00000000000000cc"
	for _, incarnation := range []string{first, second, third} {
		if _, err := openJournal(dir, incarnation); err != nil {
			t.Fatal(err)
		}
	}
	for i, incarnation := range []string{first, second, third} {
		long := time.Now().Add(-2*keepJournal + time.Duration(i)*time.Hour)
		if err := os.Chtimes(filepath.Join(dir, settings.BegunDir, incarnation+bootSuffix), long, long); err != nil {
			t.Fatal(err)
		}
	}
	j, err := openJournal(dir, "00000000000000dd")
	if err != nil {
		t.Fatal(err)
	}
	if j.begun(third+".1.1") || !j.begun(second+".1.1") {
		t.Error("the last one is forgotten, or one before it is not")
	}
}

func TestHistoryIsReadAsSettingsShowIt(t *testing.T) {
	for shown, want := range map[string]int{"0": 0, "7d": 7 * 24 * 60, "36h": 36 * 60, "90min": 90} {
		if got, err := minutes(shown); err != nil || got != want {
			t.Errorf("%s: %d, %v", shown, got, err)
		}
	}
}
