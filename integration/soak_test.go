//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// soakFor and soakWorkers make the soak longer and larger: "make soak" does.
const (
	soakFor     = "PGEXTHOST_SOAK"         // a duration
	soakWorkers = "PGEXTHOST_SOAK_WORKERS" // a number
)

// soaker registers, waits for and terminates workers in random order, for as
// long as its Extra says, and then makes sure that nothing of them is left. Its
// MainArg is how many there may be at a time.
type soaker struct {
	w     *plugins.Worker
	room  int
	limit int // of parallel workers
	live  []soaked
	count map[string]int
}

type soaked struct {
	handle   plugins.Handle
	function string
	parallel bool
}

func soak(ctx context.Context, w *plugins.Worker) error {
	duration, err := time.ParseDuration(extraString(w))
	if err != nil {
		return err
	}
	limit, err := w.ShowSetting("max_parallel_workers")
	if err != nil {
		return err
	}
	s := &soaker{w: w, room: int(w.Entry().MainArg), count: make(map[string]int)}
	if s.limit, err = strconv.Atoi(limit); err != nil {
		return err
	}
	for end := time.Now().Add(duration); time.Now().Before(end); {
		if err := s.act(ctx); err != nil {
			return err
		}
	}
	if err := s.finish(ctx); err != nil {
		return err
	}
	w.Logf(elog.Log, "the soak is over: %v", s.count)
	return wait(ctx, w)
}

func (s *soaker) act(ctx context.Context) error {
	if len(s.live) < s.room && (len(s.live) == 0 || rand.IntN(5) < 3) {
		return s.register([]string{"wait", "wait", "wait", "return_nil", "return_error", "exit_7"}[rand.IntN(6)], rand.IntN(8) == 0)
	}
	i := rand.IntN(len(s.live))
	if rand.IntN(3) > 0 {
		return s.start(ctx, i)
	}
	return s.terminate(ctx, i)
}

func (s *soaker) register(function string, parallel bool) error {
	worker := plugins.BackgroundWorker{
		Name: "soaked", Flags: plugins.ShmemAccess, LibraryName: "faults", FunctionName: function, RestartTime: rand.IntN(3) - 1, NotifyPid: s.w.Pid(),
	}
	if parallel {
		worker.Flags |= plugins.ClassParallel
		worker.RestartTime = plugins.NeverRestart
	}
	handle, err := s.w.RegisterDynamicBackgroundWorker(worker)
	switch {
	case parallel && errors.Is(err, plugins.ErrNoSlot):
		s.count["refused"]++
		return nil
	case err != nil:
		return err
	}
	s.count["registered"]++
	s.live = append(s.live, soaked{handle, function, parallel})
	return nil
}

// start waits for the start of a worker, which may have ended already.
func (s *soaker) start(ctx context.Context, i int) error {
	switch _, err := s.w.WaitForBackgroundWorkerStartup(ctx, s.live[i].handle); {
	case errors.Is(err, plugins.ErrStopped):
		s.count["had ended"]++
		return nil
	case err != nil:
		return err
	}
	s.count["were running"]++
	return nil
}

func (s *soaker) terminate(ctx context.Context, i int) error {
	handle := s.live[i].handle
	s.live = append(s.live[:i], s.live[i+1:]...)
	if err := s.w.TerminateBackgroundWorker(handle); err != nil {
		return err
	}
	s.count["terminated"]++
	return s.w.WaitForBackgroundWorkerShutdown(ctx, handle)
}

// finish ends all, and checks that every slot is free and every counter right.
func (s *soaker) finish(ctx context.Context) error {
	for len(s.live) > 0 {
		if err := s.terminate(ctx, rand.IntN(len(s.live))); err != nil {
			return err
		}
	}
	if left := s.w.BackgroundWorkers(); len(left) != 1 || left[0].Pid != s.w.Pid() {
		return fmt.Errorf("%d workers are left: %+v", len(left), left)
	}
	for range s.limit {
		if err := s.register("wait", true); err != nil {
			return err
		}
	}
	if len(s.live) != s.limit {
		return fmt.Errorf("%d of %d parallel workers could be registered", len(s.live), s.limit)
	}
	if err := s.register("wait", true); err != nil || len(s.live) != s.limit {
		return fmt.Errorf("a parallel worker too many: %w", err)
	}
	for len(s.live) < s.room {
		if err := s.register("wait", false); err != nil {
			return err
		}
	}
	if err := s.register("wait", false); !errors.Is(err, plugins.ErrNoSlot) {
		return fmt.Errorf("a worker too many: %w", err)
	}
	for len(s.live) > 0 {
		if err := s.terminate(ctx, len(s.live)-1); err != nil {
			return err
		}
	}
	return nil
}

// Workers come and go by the hundred, and nothing of them is left. "make soak"
// has 400 at a time, for minutes.
func TestSoak(t *testing.T) {
	t.Parallel()
	room, duration := 20, 2*time.Second
	if n, err := strconv.Atoi(os.Getenv(soakWorkers)); err == nil {
		room = n
	}
	if d, err := time.ParseDuration(os.Getenv(soakFor)); err == nil {
		duration = d
	}
	w := plugins.BackgroundWorker{Name: "soaker", FunctionName: "soak", MainArg: int64(room)}
	copy(w.Extra[:], duration.String())
	h := startHost(t, withFileSettingsOnly(), withSetting("max_worker_processes="+strconv.Itoa(room+1)), withSetting("crash_scope=worker"), withWorkers(w))
	h.patience = duration + limit
	h.waitLog(`LOG:  the soak is over`)
	for _, line := range h.logLines() {
		if strings.Contains(line, "the soak is over") {
			t.Log(line)
		}
	}
	h.eventually("the workers to be gone", func() bool { return len(h.children()) == 1 })
	h.stop()
}
