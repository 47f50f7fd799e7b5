//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins"
)

// torture is the environment variable that makes tests of hostile shared memory
// run for minutes, with how many rounds in all.
const torture = "PGEXTHOST_TORTURE"

// hostileRounds is how many rounds of garbage there are in "make test".
const hostileRounds = 400

// A child overwrites all of shared memory while others work. Whatever they make
// of that, the host goes on, keeps its workers, knows its children, and leaves
// everybody else in peace.
func TestAHostSurvivesHostileSharedMemory(t *testing.T) {
	total := int64(hostileRounds)
	if n := os.Getenv(torture); n != "" {
		if _, err := fmt.Sscan(n, &total); err != nil {
			t.Fatal(err)
		}
	}
	patience := max(limit, time.Duration(total)*limit/1000)
	for _, scope := range []string{"auto", "cluster"} {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			testHostile(t, scope, garbling{Rounds: total / 2, Seed: rand.Uint64N(1e9)}, patience)
		})
	}
}

// A lock that a living sibling holds, or seems to hold, is waited for, as
// PostgreSQL waits for an LWLock: nobody but itself can tell. But who waits can be
// terminated.
func TestAWorkerThatWaitsForALockCanBeTerminated(t *testing.T) {
	t.Parallel()
	h := startHost(t, withWorkers(
		plugins.BackgroundWorker{Name: "holder", FunctionName: "hold_lock", RestartTime: plugins.NeverRestart},
		plugins.BackgroundWorker{Name: "registrar", FunctionName: "registrar", RestartTime: 1}))
	h.waitLog(`holder holds the slot lock$`)
	first := h.workerPid("registrar")
	if err := unix.Kill(first, unix.SIGKILL); err != nil { // the next one comes when the lock is held
		t.Fatal(err)
	}
	h.eventually("the registrar to come back", func() bool { return h.workerPid("registrar") != first })
	pid := h.workerPid("registrar")
	<-time.After(500 * time.Millisecond) // it registers a worker every 20 ms
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.waitLog(fmt.Sprintf(`"registrar" \(PID %d\) exited with exit code 1`, pid))
	if n := h.count(`terminating any other active server processes`); n != 0 {
		t.Error("it was taken for a crash inside shared memory")
	}
	h.stop()
}

// victims are the host's own workers.
var victims = []plugins.BackgroundWorker{
	{Name: "waiter", FunctionName: "wait", RestartTime: 1},
	{Name: "own", FunctionName: "own_sigterm", RestartTime: 1},
	{Name: "registrar", FunctionName: "registrar", RestartTime: 1},
	{Name: "restarts", FunctionName: "return_error", RestartTime: 1},
}

func testHostile(t *testing.T, scope string, g garbling, patience time.Duration) {
	stranger := startStranger(t)
	g.Pids = []int{1, os.Getpid(), stranger.pid} // this process dies of a SIGUSR1, too
	text, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	garbler := plugins.BackgroundWorker{Name: "garbler", FunctionName: "garble", RestartTime: 1}
	if n := copy(garbler.Extra[:], text); n < len(text) {
		t.Fatalf("%s does not fit", text)
	}
	h := startHost(t, withSetting("crash_scope="+scope), withSetting("max_worker_processes=14"), withWorkers(append(slices.Clone(victims), garbler)...))
	t.Logf("seed %d", g.Seed)
	h.waitLog(`LOG:  extension host is ready$`) // without its preload child there would be no host

	h.molest(g.Rounds, patience)
	h.eventually("ps to be answered", func() bool { return h.ps(10*time.Second) == nil })
	h.awaitQuiet()
	h.expectOwnWorkers()
	begin := time.Now()
	h.stop()
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("the shutdown took %v", took)
	}
	if n := h.count(`^panic|goroutine \d+ \[running\]`); n != 0 {
		t.Errorf("somebody panicked")
	}
	if scope == "auto" { // in a crash cycle not each end is worth a line
		const end = `\(PID \d+\) (exited|was terminated|could not be started)`
		starts, ends := h.count(`starting background worker process`), h.count(end)-h.count(`control server process `+end)
		if starts != ends {
			t.Errorf("%d starts, but %d ends", starts, ends)
		}
	}
	select {
	case <-stranger.gone:
		t.Error("a process that is none of the host's was signalled")
	default:
	}
}

// molest kills children and asks for ps until the garbler is done.
func (h *testHost) molest(rounds int64, patience time.Duration) {
	h.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if st, err := os.Stat(filepath.Join(h.dir, roundsFile)); err == nil && st.Size() >= rounds {
			return
		}
		select {
		case <-tick.C:
		case <-h.exited:
			h.t.Fatal("the host has ended")
		case <-deadline:
			h.t.Fatal("the garbler is not done")
		}
		_ = h.ps(time.Second)
		if children := h.children(); rand.IntN(8) == 0 && len(children) > 0 {
			_ = unix.Kill(children[rand.IntN(len(children))], unix.SIGKILL)
		}
	}
}

// ps asks the host for its workers.
func (h *testHost) ps(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client, err := control.Dial(ctx, h.dir)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Do(ctx, control.Request{Op: control.OpPs})
	return err
}

// awaitQuiet waits for a second in which the host does next to nothing.
func (h *testHost) awaitQuiet() {
	h.t.Helper()
	h.eventually("the host to be quiet", func() bool {
		before := cpuTime(h.pid())
		<-time.After(time.Second)
		return cpuTime(h.pid())-before < 100*time.Millisecond
	})
}

// cpuTime returns how long a process has run.
func cpuTime(pid int) time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var user, system int64
	if len(fields) > 12 {
		_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// expectOwnWorkers checks that the host's own workers run, and come back when
// they are killed.
func (h *testHost) expectOwnWorkers() {
	h.t.Helper()
	for _, w := range victims {
		if w.FunctionName == "return_error" {
			continue
		}
		pid := h.workerPid(w.Name)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			h.t.Fatal(err)
		}
		h.eventually(w.Name+" to come back", func() bool { return h.workerPid(w.Name) != pid })
	}
	ended := h.count(`ERROR:  something failed`)
	h.eventually("the worker that fails to be restarted", func() bool { return h.count(`ERROR:  something failed`) > ended })
}

// stranger is a process that a SIGUSR1 ends.
type stranger struct {
	pid  int
	gone chan struct{}
}

func startStranger(t *testing.T) *stranger {
	t.Helper()
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &stranger{pid: cmd.Process.Pid, gone: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(s.gone) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-s.gone })
	return s
}
