package call

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// observer says what workers do.
type observer struct {
	host Host

	mu   sync.Mutex
	seen map[string]bool // custom wait events of libraries
}

// workerSession is a worker's session, as pgexthost.known_sessions reads it.
type workerSession struct {
	Session       int    `json:"session"` // the process id of the server's side
	Pid           int    `json:"pid"`
	Role          uint32 `json:"role"` // 0: the login's
	Type          string `json:"type"`
	WaitEventType string `json:"wait_event_type,omitempty"`
	WaitEvent     string `json:"wait_event,omitempty"`
	State         string `json:"state,omitempty"`
	Query         string `json:"query"`
}

// activity returns the workers that have a session, as an array.
func (o *observer) activity(context.Context, *Session, string) (reply, error) {
	all := []workerSession{}
	for _, w := range o.host.BackgroundWorkers() {
		o.note(w)
		if w.Pid == 0 || w.BackendPid == 0 {
			continue
		}
		all = append(all, workerSession{
			Session: w.BackendPid, Pid: w.Pid, Role: w.RoleOID, Type: w.Entry.Type, WaitEventType: w.WaitEventType, WaitEvent: w.WaitEvent,
			State: stateName(w.ActivityState), Query: w.Activity,
		})
	}
	return asJSON(all)
}

// stateName returns the name that pg_stat_activity has for a state.
func stateName(s plugins.ActivityState) string {
	switch s {
	case plugins.StateIdle:
		return "idle"
	case plugins.StateRunning:
		return "active"
	case plugins.StateIdleInTransaction:
		return "idle in transaction"
	}
	return ""
}

// waitEvent is a row of pg_wait_events.
type waitEvent struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// ownWaitEvents are those of the host itself.
var ownWaitEvents = []waitEvent{
	{"Activity", "ControlServerMain", "Waiting in main loop of control server process"},
	{"Activity", "GatewayMain", "Waiting in main loop of gateway process"},
	{"Activity", "RequestLauncherMain", "Waiting in main loop of request launcher process"},
	{"Activity", "ServerMonitorMain", "Waiting in main loop of server monitor process"},
	{"Client", "WaitForNotification", "Waiting for a notification of the server"},
	{"IPC", "BgworkerShutdown", "Waiting for background worker to shut down"},
	{"IPC", "BgworkerStartup", "Waiting for background worker to start up"},
	{"IPC", "HeldWorkerRelease", "Waiting for the request that the worker is for to be recorded as started"},
}

// waitEvents returns those of the host, and of the libraries those that were seen
// since the gateway was started: a library need not announce them.
func (o *observer) waitEvents(context.Context, *Session, string) (reply, error) {
	for _, w := range o.host.BackgroundWorkers() {
		o.note(w)
	}
	all := append([]waitEvent(nil), ownWaitEvents...)
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range o.seen {
		all = append(all, waitEvent{shmem.WaitClassExtension.String(), name, "Waiting for custom wait event \"" + name + "\" defined by extension module"})
	}
	return asJSON(all)
}

// mostWaitEvents bounds what is remembered of what comes from shared memory.
const mostWaitEvents = 128

// note remembers a worker's custom wait event.
func (o *observer) note(w plugins.WorkerInfo) {
	if w.WaitEventType != shmem.WaitClassExtension.String() || w.WaitEvent == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.seen) < mostWaitEvents {
		o.seen[w.WaitEvent] = true
	}
}

// workerKey says which worker is meant: a pid may be another's a moment later.
type workerKey struct {
	Pid     int            `json:"pid"`
	Handle  plugins.Handle `json:"handle"`
	Name    string         `json:"name"`
	Session int            `json:"session"`
	Role    uint32         `json:"role"`
}

// worker returns the worker that runs with a pid, or NULL.
func (o *observer) worker(_ context.Context, _ *Session, argument string) (reply, error) {
	pid, err := strconv.Atoi(argument)
	if err != nil {
		return reply{}, err
	}
	for _, w := range o.host.BackgroundWorkers() {
		if w.Pid == pid && pid > 0 {
			return asJSON(workerKey{Pid: w.Pid, Handle: w.Handle, Name: w.Entry.Name, Session: w.BackendPid, Role: w.RoleOID})
		}
	}
	return null, nil
}

func asJSON(value any) (reply, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return reply{}, elog.New(elog.Error, elog.InternalError, "could not write an answer: %v", err).WithCause(err)
	}
	return reply{text: string(text)}, nil
}
