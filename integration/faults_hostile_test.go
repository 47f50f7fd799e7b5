//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/hostile"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// garbling is what a worker that overwrites shared memory shall do. It must fit
// the Extra of a registration.
type garbling struct {
	Rounds int64
	Seed   uint64
	Pids   []int // of processes that are none of the host's children
}

// roundsFile grows by a byte with each round, in the data directory, so that a
// garbler that a crash cycle ends is succeeded by one that goes on.
const roundsFile = "rounds"

// garblePause leaves the others time to come upon what there is.
const garblePause = 4 * time.Millisecond

func garble(ctx context.Context, w *plugins.Worker) error {
	var g garbling
	if err := json.Unmarshal([]byte(extraString(w)), &g); err != nil {
		return err
	}
	rounds, err := os.OpenFile(roundsFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer rounds.Close()
	garbler, err := newGarbler(w, g, uint64(rounds.Fd()))
	if err != nil {
		return err
	}
	tick := time.NewTicker(garblePause)
	defer tick.Stop()
	for {
		if st, err := rounds.Stat(); err != nil || st.Size() >= g.Rounds {
			w.Logf(elog.Log, "%s is done", w.Entry().Name)
			<-ctx.Done() // the latch is not to be relied upon
			return context.Cause(ctx)
		}
		garbler.Round()
		if _, err := rounds.WriteString("x"); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func newGarbler(w *plugins.Worker, g garbling, salt uint64) (*hostile.Garbler, error) {
	segment, err := ownSegment()
	if err != nil {
		return nil, err
	}
	fd, err := unix.FcntlInt(handshake.FDAlarm, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return hostile.New(segment, shmem.InheritAlarm(fd), g.Seed+salt+uint64(w.Pid()), g.Pids...)
}

// registrar registers other workers and terminates them, whatever comes of it. In
// a slot that garbage has made look free, another worker runs.
func registrar(ctx context.Context, w *plugins.Worker) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		handle, err := w.RegisterDynamicBackgroundWorker(plugins.BackgroundWorker{
			Name: "dynamic", Flags: plugins.ShmemAccess, LibraryName: "faults", FunctionName: "return_nil", RestartTime: plugins.NeverRestart, NotifyPid: w.Pid(),
		})
		if err == nil {
			_, _, _ = w.GetBackgroundWorkerPid(handle)
			_, _ = w.GetBackgroundWorkerTypeByPid(w.Pid())
			w.ReportActivity(plugins.StateRunning, strings.Repeat("x", 2000))
			_ = w.TerminateBackgroundWorker(handle)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
