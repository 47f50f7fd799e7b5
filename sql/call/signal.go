package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// signaller sends signals. Whether the caller may, the functions have found out.
type signaller struct {
	host Host
	kill func(pid int, s unix.Signal) error
}

// signalRequest is the argument of "signal", as pgexthost.signal_worker makes it.
type signalRequest struct {
	workerKey
	Terminate bool  `json:"terminate"` // or else cancel its statement
	Timeout   int64 `json:"timeout"`   // how many milliseconds to wait for its end; 0: not at all
}

// signal sends SIGTERM or SIGINT to the process group of a worker, and returns a
// warning, or nothing. As in PostgreSQL that is no TerminateBackgroundWorker: the
// worker is restarted by its rules. Mirrors pg_signal_backend and
// pg_wait_until_termination.
func (g signaller) signal(ctx context.Context, _ *Session, argument string) (reply, error) {
	var r signalRequest
	if err := json.Unmarshal([]byte(argument), &r); err != nil {
		return reply{}, err
	}
	if !g.runs(r.workerKey) {
		return reply{text: fmt.Sprintf("PID %d is not a PostgreSQL backend process", r.Pid)}, nil
	}
	sig := unix.SIGINT
	if r.Terminate {
		sig = unix.SIGTERM
	}
	if err := g.kill(-r.Pid, sig); err != nil {
		return reply{text: couldNotSend(r.Pid, err)}, nil
	}
	if r.Terminate && r.Timeout > 0 {
		return g.awaitEnd(ctx, r)
	}
	return reply{}, nil
}

func couldNotSend(pid int, err error) string {
	return fmt.Sprintf("could not send signal to process %d: %s", pid, elog.OSReason(err))
}

// lookForEnd is how often a process is looked for that is to end.
const lookForEnd = 10 * time.Millisecond

func (g signaller) awaitEnd(ctx context.Context, r signalRequest) (reply, error) {
	limit := time.Duration(min(r.Timeout, int64(longestTimeout/time.Millisecond))) * time.Millisecond
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for g.runs(r.workerKey) {
		if err := sleep(wait, lookForEnd); err == nil {
			continue
		}
		if ctx.Err() != nil {
			return reply{}, context.Cause(ctx)
		}
		plural := "s"
		if r.Timeout == 1 {
			plural = ""
		}
		return reply{text: fmt.Sprintf("backend with PID %d did not terminate within %d millisecond%s", r.Pid, r.Timeout, plural)}, nil
	}
	return reply{}, nil
}

// longestTimeout is what fits a time.Duration with room to spare.
const longestTimeout = 100 * 365 * 24 * time.Hour

// runs reports whether the worker still runs with its pid.
func (g signaller) runs(k workerKey) bool {
	status, pid, err := g.host.GetBackgroundWorkerPid(k.Handle)
	return err == nil && status == plugins.HandleStarted && pid == k.Pid && k.Pid > 0
}

// reload has the host read its configuration files again, and returns a warning, or
// nothing. Mirrors pg_reload_conf.
func (g signaller) reload(context.Context, *Session, string) (reply, error) {
	pid := g.host.PostmasterPid()
	if pid <= 0 {
		return reply{}, errors.New("there is no host")
	}
	if err := g.kill(pid, unix.SIGHUP); err != nil {
		return reply{text: fmt.Sprintf("failed to send signal to postmaster: %s", elog.OSReason(err))}, nil
	}
	return reply{}, nil
}
