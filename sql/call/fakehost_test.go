package call_test

import (
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// fakeHost is a host whose workers are made up.
type fakeHost struct {
	mu         sync.Mutex
	registered []plugins.BackgroundWorker
	handles    map[plugins.Handle]int // the pid of each; 0: it has not been started yet; below: it has ended
	slots      int
	hold       bool // nothing starts
	workers    []plugins.WorkerInfo
	altered    []string
	looks      int           // at workers that have not been started
	stuck      chan struct{} // not nil: until it is closed the host does not say what its workers do
}

const firstPid = 1 << 22 // which no process has

func newFakeHost() *fakeHost {
	return &fakeHost{handles: make(map[plugins.Handle]int), slots: 1 << 30}
}

func (h *fakeHost) AlterSystem(name string, value *string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name == "bad" {
		return elog.New(elog.Error, elog.InvalidParameterValue, "invalid value").WithDetail("Some detail.")
	}
	text := "RESET"
	if value != nil {
		text = *value
	}
	h.altered = append(h.altered, name+"="+text)
	return nil
}

func (h *fakeHost) Pid() int           { return os.Getpid() }
func (h *fakeHost) PostmasterPid() int { return os.Getpid() }

func (h *fakeHost) BackgroundWorkers() []plugins.WorkerInfo {
	h.mu.Lock()
	stuck := h.stuck
	h.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
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
	h.looks++
	return plugins.HandleNotYetStarted, 0, nil
}

// lookedAt counts the looks at workers that have not been started.
func (h *fakeHost) lookedAt() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looks
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

// run has a process be a worker's, with a session of a role that has logged in as
// itself. Both end with the test, and the session if the process does.
func (b *bed) run(role, name string) *fakeWorker {
	b.Helper()
	// A worker leads its process group.
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	check(b, cmd.Start())
	w := &fakeWorker{cmd: cmd, session: b.plain(b.database, role), gone: make(chan struct{})}
	go func() { _ = cmd.Wait(); b.host.remove(cmd.Process.Pid); close(w.gone) }()
	b.Cleanup(func() { _ = cmd.Process.Kill(); <-w.gone })
	b.host.mu.Lock()
	defer b.host.mu.Unlock()
	handle, err := plugins.ParseHandle("0000000000000002.1." + itoa(cmd.Process.Pid))
	check(b, err)
	b.host.handles[handle] = cmd.Process.Pid
	b.host.workers = append(b.host.workers, plugins.WorkerInfo{
		Handle: handle, Entry: plugins.BackgroundWorker{Name: name, Type: "the type"}, State: plugins.WorkerRunning, Pid: cmd.Process.Pid,
		Database: b.database, BackendPid: int(w.session.PgConn().PID()), WaitEventType: "Extension", WaitEvent: "NapTime",
		ActivityState: plugins.StateIdle, Activity: "SELECT 'secret'",
	})
	return w
}

// workerInfo is what a host says of a worker.
type workerInfo = plugins.WorkerInfo

type fakeWorker struct {
	cmd     *exec.Cmd
	session *client
	gone    chan struct{} // closed when the process has ended
}

func (w *fakeWorker) pid() int { return w.cmd.Process.Pid }

func (h *fakeHost) remove(pid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workers = slices.DeleteFunc(slices.Clone(h.workers), func(w plugins.WorkerInfo) bool { return w.Pid == pid })
	for handle, p := range h.handles {
		if p == pid {
			h.handles[handle] = -1
		}
	}
}

// change changes what the host says of its only worker.
func (h *fakeHost) change(do func(*plugins.WorkerInfo)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workers = slices.Clone(h.workers)
	do(&h.workers[0])
}
