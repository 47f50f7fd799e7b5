package control

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// answerReloads makes the fake's postmaster answer every request.
func (f *fakeWorker) answerReloads(t *testing.T, answer Reload) {
	t.Helper()
	f.reload = func(string) (uint64, error) {
		answer.ID = 7
		text, err := json.Marshal(Libraries{Reload: &answer})
		if err == nil {
			err = os.WriteFile(LibrariesFileName, text, 0o600)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.answered = answer.ID
		return answer.ID, err
	}
}

// Where a worker stands, as its rows say.
func TestAReloadFollowsEachWorker(t *testing.T) {
	now := time.Now()
	before, after := now.Add(-time.Hour), now.Add(-time.Second)
	started := func(at time.Time) plugins.WorkerHistory { return plugins.WorkerHistory{Started: at} }
	for name, tt := range map[string]struct {
		fate   postmaster.ReloadFate
		pid    int
		row    *plugins.WorkerInfo
		state  Outcome
		reason string
	}{
		"drains":               {postmaster.FateRestart, 5, &plugins.WorkerInfo{Pid: 5, WorkerHistory: started(before)}, OutcomeDraining, ""},
		"about to start":       {postmaster.FateRestart, 5, &plugins.WorkerInfo{WorkerHistory: started(before)}, OutcomeDraining, ""},
		"restarted":            {postmaster.FateRestart, 5, &plugins.WorkerInfo{Pid: 6, WorkerHistory: started(after)}, OutcomeRestarted, ""},
		"the same pid again":   {postmaster.FateRestart, 5, &plugins.WorkerInfo{Pid: 5, WorkerHistory: started(after)}, OutcomeRestarted, ""},
		"done":                 {postmaster.FateRestart, 5, nil, OutcomeDone, ""},
		"waits for a server":   {postmaster.FateRestart, 5, &plugins.WorkerInfo{Entry: plugins.BackgroundWorker{StartTime: plugins.StartAtConsistentState}, WorkerHistory: started(before)}, OutcomeWaiting, "it waits for the server"},
		"failed again":         {postmaster.FateRestart, 5, &plugins.WorkerInfo{WorkerHistory: plugins.WorkerHistory{Started: after, Exited: now, ExitCode: 1, Message: "no"}}, OutcomeWaiting, "it has ended again: no"},
		"crashed again":        {postmaster.FateRestart, 5, &plugins.WorkerInfo{WorkerHistory: plugins.WorkerHistory{Started: after, Exited: now, ExitCode: 2}}, OutcomeWaiting, "its process exited with exit code 2 again"},
		"could not be started": {postmaster.FateStart, 0, &plugins.WorkerInfo{WorkerHistory: plugins.WorkerHistory{Started: before, NextStart: now.Add(time.Hour), Message: "no memory"}}, OutcomeWaiting, "no memory"},
		"started":              {postmaster.FateStart, 0, &plugins.WorkerInfo{Pid: 6, WorkerHistory: started(after)}, OutcomeStarted, ""},
		"ends":                 {postmaster.FateGone, 5, &plugins.WorkerInfo{Pid: 5, WorkerHistory: started(before)}, OutcomeEnding, ""},
		"gone":                 {postmaster.FateGone, 5, nil, OutcomeGone, ""},
		"kept":                 {postmaster.FateKept, 5, &plugins.WorkerInfo{Pid: 5, WorkerHistory: started(before)}, OutcomeKept, "it must not start a second time"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeWorker{server: shmem.ServerUnreachable}
			if tt.row != nil {
				tt.row.Slot, tt.row.Generation = 3, 4
				f.workers = []plugins.WorkerInfo{{Slot: 3, Generation: 3, Pid: 99}, *tt.row}
			}
			follow := follower{server: &server{worker: f, claims: newClaims(f)}, answer: &Reload{Workers: []ReloadedWorker{
				{Slot: 3, Generation: 4, Pid: tt.pid, Started: before, Fate: tt.fate, Worker: shmem.Descriptor{Name: "w"}},
			}}}
			follow.look()
			got := follow.states[0]
			if got.State != tt.state || got.Reason != tt.reason || got.Name != "w" || got.WasPid != tt.pid {
				t.Errorf("got %+v", got)
			}
			if waits := tt.state == OutcomeDraining || tt.state == OutcomeEnding; follow.complete() == waits {
				t.Errorf("complete is %v", follow.complete())
			}
		})
	}
}

// A client's time bounds each part of the wait.
func TestAReloadEndsWithTheTimeOfItsClient(t *testing.T) {
	t.Chdir(t.TempDir())
	f := &fakeWorker{reload: func(string) (uint64, error) { return 1, nil }}
	s := &server{worker: f, claims: newClaims(f), reload: make(chan struct{}, 1), news: make(chan struct{})}
	ask := Request{Op: OpReload, Target: "lib", Limit: 10 * time.Millisecond}
	if _, err := s.reloadLibrary(t.Context(), ask); elog.CodeOf(err) != elog.QueryCanceled {
		t.Errorf("the Init hangs: got %v", err)
	}
	s.reload <- struct{}{}
	if _, err := s.reloadLibrary(t.Context(), ask); elog.CodeOf(err) != elog.QueryCanceled {
		t.Errorf("another goes on: got %v", err)
	}
	<-s.reload
	ask.Limit = time.Minute
	f.answerReloads(t, Reload{Error: elog.New(elog.Error, elog.UndefinedFile, "it is not there")})
	if _, err := s.reloadLibrary(t.Context(), ask); elog.CodeOf(err) != elog.UndefinedFile {
		t.Errorf("got %v", err)
	}
	f.workers = []plugins.WorkerInfo{{Slot: 1, Pid: 5}}
	f.answerReloads(t, Reload{Preloaded: true, Workers: []ReloadedWorker{{Slot: 1, Pid: 5, Fate: postmaster.FateRestart}}})
	ask.Limit = 100 * time.Millisecond
	r, err := s.reloadLibrary(t.Context(), ask)
	if err != nil || r.Complete || r.Workers[0].State != OutcomeDraining {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := os.Remove(filepath.Join(".", LibrariesFileName)); err != nil {
		t.Fatal(err)
	}
	f.reload = func(string) (uint64, error) { f.answered = 9; return 9, nil }
	if _, err := s.reloadLibrary(t.Context(), ask); elog.CodeOf(err) != elog.UndefinedFile {
		t.Errorf("without the file: got %v", err)
	}
}
