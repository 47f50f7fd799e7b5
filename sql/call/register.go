package call

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// registrar registers dynamic workers.
type registrar struct{ host Host }

// registration is the argument of "register", as pgexthost.launch_now makes it.
type registration struct {
	Library       string `json:"library"`
	Function      string `json:"function"`
	Name          string `json:"name"`
	Type          string `json:"type"`
	MainArg       int64  `json:"main_arg"`
	Extra         string `json:"extra"` // in hexadecimal digits
	RestartTime   int    `json:"restart_time"`
	StartTime     string `json:"start_time"`
	Interruptible bool   `json:"interruptible"`
}

// register registers a worker, waits until its process has been started and returns
// the pid, or NULL if there is no slot. If the caller gives up, the worker stays, as
// with WaitForBackgroundWorkerStartup.
func (r registrar) register(ctx context.Context, _ *Session, argument string) (reply, error) {
	worker, err := parseRegistration(argument)
	if err != nil {
		return reply{}, err
	}
	worker.NotifyPid = r.host.Pid() // a host that stops forgets it then, rather than have us wait
	handle, err := r.host.RegisterDynamicBackgroundWorker(worker)
	switch {
	case errors.Is(err, plugins.ErrNoSlot):
		return null, nil
	case err != nil:
		return reply{}, err
	}
	pid, err := r.started(ctx, handle)
	return reply{text: strconv.Itoa(pid)}, err
}

func parseRegistration(argument string) (worker plugins.BackgroundWorker, err error) {
	var r registration
	if err := json.Unmarshal([]byte(argument), &r); err != nil {
		return worker, err
	}
	// The functions have refused these; but whoever owns the schema can call it.
	if strings.Contains(r.Library, "/") || r.Library == "postgres" {
		return worker, elog.New(elog.Error, elog.InsufficientPrivilege, "permission denied to launch functions of library \"%s\"", r.Library).
			WithHint("From SQL, libraries are named without a slash, and \"postgres\" is none.")
	}
	worker = plugins.BackgroundWorker{
		Name: r.Name, Type: r.Type, LibraryName: r.Library, FunctionName: r.Function, MainArg: r.MainArg, RestartTime: r.RestartTime,
		Flags: plugins.ShmemAccess | plugins.BackendDatabaseConnection, StartTime: plugins.StartAtRecoveryFinished,
	}
	switch r.StartTime {
	case "postmaster":
		worker.StartTime, worker.Flags = plugins.StartAtPostmasterStart, plugins.ShmemAccess
	case "consistent":
		worker.StartTime = plugins.StartAtConsistentState
	}
	if r.Interruptible {
		worker.Flags |= plugins.Interruptible
	}
	extra, err := hex.DecodeString(r.Extra)
	if err != nil || len(extra) > len(worker.Extra) {
		return worker, elog.New(elog.Error, elog.InvalidParameterValue, "invalid extra data")
	}
	copy(worker.Extra[:], extra)
	return worker, nil
}

// A start takes a millisecond or two, unless the worker waits for its start time.
const (
	firstLook = 200 * time.Microsecond
	lastLook  = 50 * time.Millisecond
)

// started waits until the worker has been started. It looks again and again, which
// costs a few loads: the latch of the process is one goroutine's, and here is one for
// each call. Mirrors WaitForBackgroundWorkerStartup.
func (r registrar) started(ctx context.Context, handle plugins.Handle) (pid int, err error) {
	pause := firstLook
	for {
		status, pid, err := r.host.GetBackgroundWorkerPid(handle)
		switch {
		case err != nil:
			return 0, err
		case status == plugins.HandleStarted:
			return pid, nil
		case status == plugins.HandleStopped:
			return 0, plugins.ErrStopped
		}
		if err := sleep(ctx, pause); err != nil {
			return 0, err
		}
		pause = min(pause*5/4, lastLook)
	}
}

// sleep waits for a while, or until ctx ends, whose cause it returns then.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
