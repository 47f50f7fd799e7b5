package call_test

import (
	"errors"
	"os"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins"
)

func asServerError(err error) *pgconn.PgError {
	var e *pgconn.PgError
	errors.As(err, &e)
	return e
}

// fakeHost is a host whose workers are made up.
type fakeHost struct {
	mu         sync.Mutex
	registered []plugins.BackgroundWorker
	handles    map[plugins.Handle]int // the pid of each; 0: it has not been started yet; below: it has ended
	slots      int
	hold       bool // nothing starts
	workers    []plugins.WorkerInfo
}

const firstPid = 1 << 22 // which no process has

func newFakeHost() *fakeHost {
	return &fakeHost{handles: make(map[plugins.Handle]int), slots: 1 << 30}
}

func (h *fakeHost) Pid() int           { return os.Getpid() }
func (h *fakeHost) PostmasterPid() int { return 0 }

func (h *fakeHost) BackgroundWorkers() []plugins.WorkerInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.workers
}

func (h *fakeHost) RegisterDynamicBackgroundWorker(worker plugins.BackgroundWorker) (plugins.Handle, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := worker.SanityCheck(); err != nil {
		return plugins.Handle{}, err
	}
	if len(h.handles) >= h.slots {
		return plugins.Handle{}, plugins.ErrNoSlot
	}
	handle, err := plugins.ParseHandle("0000000000000001.1." + itoa(len(h.handles)+1))
	if err != nil {
		return handle, err
	}
	h.registered = append(h.registered, worker)
	h.handles[handle] = 0
	if !h.hold {
		h.handles[handle] = firstPid + int(worker.MainArg&0xffff)
	}
	return handle, nil
}

func (h *fakeHost) GetBackgroundWorkerPid(handle plugins.Handle) (plugins.HandleStatus, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch pid := h.handles[handle]; {
	case pid > 0:
		return plugins.HandleStarted, pid, nil
	case pid < 0:
		return plugins.HandleStopped, 0, nil
	}
	return plugins.HandleNotYetStarted, 0, nil
}

// set has all workers that wait be started, or end.
func (h *fakeHost) set(pid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold = pid == 0
	for handle, was := range h.handles {
		if was == 0 {
			h.handles[handle] = pid
		}
	}
}

func (h *fakeHost) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.registered)
}
