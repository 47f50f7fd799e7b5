package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// errLimit says that the time a client wants to wait is over.
var errLimit = errors.New("the time is over")

// reloadLibrary has a library loaded again and follows its workers until they run
// from it, or the client's time is over.
func (s *server) reloadLibrary(ctx context.Context, r Request) (*Reloaded, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Limit, errLimit)
	defer cancel()
	answer, err := s.askReload(ctx, r.Target)
	if err != nil {
		return nil, err
	}
	if answer.Error != nil {
		return nil, answer.Error
	}
	f := follower{server: s, answer: answer}
	err = s.awaitProgress(ctx, func() bool {
		f.look()
		return f.complete()
	})
	if err != nil && !errors.Is(err, errLimit) {
		return nil, interrupted(err)
	}
	return f.report(r.Target, err == nil), nil
}

// firstPause is how long awaitProgress waits before its second look. The pauses
// double, up to lookAgain.
const firstPause = 20 * time.Millisecond

// awaitProgress looks until done says so. Nobody is notified of the workers of
// others, so it looks often at first, when most is happening.
func (s *server) awaitProgress(ctx context.Context, done func() bool) error {
	for pause := firstPause; !done(); pause = min(2*pause, lookAgain) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// askReload asks the postmaster, when nobody else does, and returns its answer.
func (s *server) askReload(ctx context.Context, name string) (*Reload, error) {
	if err := s.awaitTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.reload }()
	id, err := s.worker.RequestLibraryReload(name)
	if err != nil {
		return nil, err
	}
	err = s.await(ctx, func() (bool, error) { return s.worker.LibraryReloadAnswered(id), nil })
	if err != nil {
		return nil, tooLong(ctx, fmt.Sprintf("the Init of library \"%s\" has not returned yet", name), "The reload goes on, and the log of the host tells its outcome.")
	}
	known, err := ReadLibraries(".")
	if err != nil {
		return nil, err
	}
	if known.Reload == nil || known.Reload.ID != id {
		return nil, elog.New(elog.Error, elog.InternalError, "the outcome of the reload could not be read from file \"%s\"", LibrariesFileName).
			WithHint("The log of the host says more.")
	}
	return known.Reload, nil
}

// awaitTurn waits until nobody else asks. Who does not want to wait asks all the
// same, if he can.
func (s *server) awaitTurn(ctx context.Context) error {
	select {
	case s.reload <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.reload <- struct{}{}:
		return nil
	case <-ctx.Done():
		return tooLong(ctx, "another library is still being loaded", "This one is not reloaded.")
	}
}

// interrupted says why a wait ends that the client has not ended.
func interrupted(err error) error {
	message := "the host is shutting down"
	switch {
	case errors.Is(err, plugins.ErrPostmasterDied):
		message = "the host has died"
	case elog.CodeOf(err) != elog.AdminShutdown:
		return err
	}
	return elog.New(elog.Error, elog.AdminShutdown, "%s", message).
		WithDetail("Whatever the reload has come to, the next start of the host uses the new file.")
}

// tooLong says what the client has waited for when its time was over.
func tooLong(ctx context.Context, what, detail string) error {
	if err := context.Cause(ctx); !errors.Is(err, errLimit) {
		return interrupted(err)
	}
	return elog.New(elog.Error, elog.QueryCanceled, "timed out: %s", what).
		WithDetail("%s", detail)
}

// follower follows the workers of a library that was loaded again.
type follower struct {
	server *server
	answer *Reload
	states []WorkerOutcome // as of the last look
}

// look finds out where the workers stand, once those that are new are registered,
// if they can be.
func (f *follower) look() {
	f.server.claims.advance()
	type place struct {
		slot       int
		generation uint64
	}
	rows := make(map[place]plugins.WorkerInfo)
	byHandle := make(map[plugins.Handle]plugins.WorkerInfo)
	for _, row := range f.server.worker.BackgroundWorkers() {
		rows[place{row.Slot, row.Generation}], byHandle[row.Handle] = row, row
	}
	f.states = make([]WorkerOutcome, len(f.answer.Workers))
	for i, w := range f.answer.Workers {
		row, registered := rows[place{w.Slot, w.Generation}]
		if w.Fate == postmaster.FateNew {
			claim, _, _ := f.server.claims.of(w.Announced)
			row, registered = byHandle[claim.handle]
		}
		o := WorkerOutcome{Name: w.Worker.Name, WasPid: w.Pid, Pid: row.Pid, Changed: w.Changed}
		o.State, o.Reason = f.outcome(&w, row, registered)
		f.states[i] = o
	}
}

// outcome says where a worker stands, and why it does not run.
func (f *follower) outcome(w *ReloadedWorker, row plugins.WorkerInfo, registered bool) (Outcome, string) {
	begun := !row.Started.IsZero() && row.Started.UnixMicro() != w.Started.UnixMicro()
	switch {
	case w.Fate == postmaster.FateNew:
		return f.outcomeOfNew(w, row, registered)
	case w.Fate == postmaster.FateGone && registered:
		return OutcomeEnding, ""
	case w.Fate == postmaster.FateGone:
		return OutcomeGone, ""
	case !registered:
		return OutcomeDone, ""
	case w.Fate == postmaster.FateKept && row.Pid == w.Pid:
		return OutcomeKept, "it must not start a second time"
	case !begun && row.Pid != 0:
		return OutcomeDraining, ""
	case row.Pid != 0 && w.Pid == 0:
		return OutcomeStarted, ""
	case row.Pid != 0:
		return OutcomeRestarted, ""
	}
	return f.outcomeOfWaiting(row, begun)
}

// outcomeOfWaiting is that of a worker without a process: unless something keeps
// it from starting it is just about to.
func (f *follower) outcomeOfWaiting(row plugins.WorkerInfo, begun bool) (Outcome, string) {
	switch {
	case !postmaster.Admits(f.server.worker.ServerState(), row.Entry.StartTime):
		return OutcomeWaiting, "it waits for the server"
	case begun && row.Message != "":
		return OutcomeWaiting, "it has ended again: " + row.Message
	case begun:
		return OutcomeWaiting, "its process " + lastExit(row.WorkerHistory) + " again"
	case row.NextStart.After(time.Now()):
		return OutcomeWaiting, row.Message
	}
	return OutcomeDraining, ""
}

func (f *follower) outcomeOfNew(w *ReloadedWorker, row plugins.WorkerInfo, registered bool) (Outcome, string) {
	claim, revoked, made := f.server.claims.of(w.Announced)
	switch {
	case revoked:
		return OutcomeGone, "" // a later reload did away with it
	case !made:
		return OutcomeDraining, "it waits for a slot"
	case claim.err != nil:
		return OutcomeRefused, claim.err.Error()
	case !registered:
		return OutcomeDone, ""
	case row.Pid != 0:
		return OutcomeNew, ""
	case !claim.noticed(row):
		return OutcomeDraining, ""
	}
	state, reason := f.outcomeOfWaiting(row, !row.Started.IsZero())
	return state, reason
}

// complete reports whether nobody is to be waited for.
func (f *follower) complete() bool {
	for _, w := range f.states {
		if w.State == OutcomeDraining || w.State == OutcomeEnding {
			return false
		}
	}
	return true
}

// report puts it all together.
func (f *follower) report(library string, complete bool) *Reloaded {
	r := &Reloaded{
		Library: library, Preloaded: f.answer.Preloaded, Was: f.answer.Was, Is: f.answer.Is, Complete: complete,
		Workers: f.states, Settings: f.answer.Settings,
	}
	for _, w := range f.answer.Refused {
		r.Workers = append(r.Workers, WorkerOutcome{Name: w.Name, State: OutcomeRefused, Reason: w.Message})
	}
	for _, e := range f.answer.Reports {
		r.Warnings = append(r.Warnings, ReloadedNotice{e.Message, e.Detail, e.Hint})
	}
	return r
}
