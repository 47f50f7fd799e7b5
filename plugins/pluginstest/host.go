package pluginstest

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/internal/settings"
)

// HostOptions say how a host is run. The zero value is a host of the libraries that
// Main was given, without a server.
type HostOptions struct {
	// Server is the database that server_conninfo leads to. Without one, workers that
	// wait for the server never start.
	Server *Postgres
	// Settings are lines of the configuration file: settings of the libraries and of the
	// host. shared_preload_libraries has the libraries of Main unless it is here, and
	// log_destination is jsonlog in any case.
	Settings map[string]string
	// Command returns the program to run, if it is another than the test binary: one that
	// makes a host of the data directory dir, such as pgexthost itself. It is called for
	// each start. Standard error is the host's log.
	Command func(dir string) *exec.Cmd
}

// Host is a host in a process of its own, with workers that are processes, too. Its
// methods are safe for concurrent use; those that take a testing.TB fail it, and are
// for the test's own goroutine.
type Host struct {
	options HostOptions
	dir     string
	log     *logBook

	mu      sync.Mutex
	process *hostProcess // the current one, or the last
}

// StartHost makes a data directory and starts a host on it. It returns when the host
// is ready, and fails the test if it does not start, or if its libraries do not
// define a setting that shared_preload_libraries should have brought.
//
// TestMain must have called Main with the libraries, unless HostOptions.Command says what
// to run. At the end of the test the host is killed with all of its workers; Stop
// shuts it down in good order. However the test binary ends, no host outlives it.
//
// Hosts run on Linux only. Elsewhere StartHost skips the test, and says so.
func StartHost(t testing.TB, o HostOptions) *Host {
	t.Helper()
	if err := host.Supported(); err != nil {
		t.Skip(explain(err))
	}
	if o.Command == nil && compiledIn.Load() == nil {
		t.Fatal("StartHost needs a TestMain that calls pluginstest.Main: the test binary is the host's program")
	}
	scratch, err := localpg.NewScratch()
	if err != nil {
		t.Fatalf("could not make a data directory: %v", err)
	}
	h := &Host{options: o, dir: filepath.Join(scratch.Path(), "host"), log: newLogBook(t, "")}
	t.Cleanup(func() {
		h.end(t)
		h.log.close()
		if err := scratch.Remove(); err != nil {
			t.Errorf("could not delete the data directory: %v", err)
		}
	})
	h.initialize(t)
	h.Start(t)
	if _, own := o.Settings[settings.SharedPreloadLibs]; !own && o.Command == nil {
		h.demandSettings(t)
	}
	return h
}

// initialize makes the data directory with its configuration file.
func (h *Host) initialize(t testing.TB) {
	t.Helper()
	conninfo := ""
	if h.options.Server != nil {
		conninfo = h.options.Server.Conninfo()
	}
	if err := host.Init(h.dir, conninfo); err != nil {
		t.Fatalf("could not make a data directory: %s", explain(err))
	}
	lines := make(map[string]string)
	if h.options.Command == nil {
		lines[settings.SharedPreloadLibs] = strings.Join(*compiledIn.Load(), ", ")
	}
	maps.Copy(lines, h.options.Settings)
	lines[settings.LogDestination] = "jsonlog"
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		h.configure(t, name, lines[name])
	}
}

// configure adds a line to the configuration file, in which the last one counts.
func (h *Host) configure(t testing.TB, name, value string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(h.dir, host.ConfigFileName), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		quoted := strings.NewReplacer("'", "''", `\`, `\\`, "\n", `\n`).Replace(value)
		_, err = f.WriteString(name + " = '" + quoted + "'\n")
		_ = f.Close()
	}
	if err != nil {
		t.Fatalf("could not write setting \"%s\": %v", name, err)
	}
}

// demandSettings fails the test if nobody has defined one of its settings.
func (h *Host) demandSettings(t testing.TB) {
	t.Helper()
	running, err := host.RunningSettings(h.dir)
	if err != nil {
		t.Fatalf("could not read the host's settings: %s", explain(err))
	}
	for _, s := range running {
		if _, given := h.options.Settings[s.Name]; given && s.Undefined {
			t.Fatalf("neither the host nor a library has a setting \"%s\"", s.Name)
		}
	}
}

// Dir returns the data directory, which is the same for all starts. It is the working
// directory of the workers.
func (h *Host) Dir() string { return h.dir }

// Pid returns the process id of the host, or of the last one that ran.
func (h *Host) Pid() int { return h.current().cmd.Process.Pid }

// Start starts a host that has ended again, in the same directory, and returns when
// it is ready.
func (h *Host) Start(t testing.TB) {
	t.Helper()
	if p := h.current(); p != nil && !p.hasExited() {
		t.Fatal("the host runs already")
	}
	p, err := startHostProcess(h.command(), h.log)
	if err != nil {
		t.Fatalf("could not start the host: %v", err)
	}
	h.mu.Lock()
	h.process = p
	h.mu.Unlock()
	Await(t, "the host to be ready", func() bool {
		if p.hasExited() {
			_ = p.awaitEnd(reserve / 2) // the last words may still be on their way
			t.Fatalf("the host has not started; its log:\n%s", h.log.text())
		}
		c, err := lockfile.Read(h.dir)
		return err == nil && c.Pid == p.cmd.Process.Pid && c.Status.Up()
	})
}

func (h *Host) current() *hostProcess {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.process
}

// command returns the program to run.
func (h *Host) command() *exec.Cmd {
	if h.options.Command != nil {
		return h.options.Command(h.dir)
	}
	cmd := exec.Command("/proc/self/exe") // whatever became of the file
	cmd.Args[0] = "pgexthost"
	cmd.Env = append(os.Environ(), envHost+"="+h.dir)
	if h.options.Server == nil {
		cmd.Env = append(cmd.Env, envNoServer+"=1")
	}
	return cmd
}

// Signal sends the host a signal: SIGTERM for a smart shutdown, SIGINT for a fast
// one, SIGQUIT for an immediate one, SIGHUP for a reload. Wait waits for the end, and
// AwaitLog for anything else.
func (h *Host) Signal(t testing.TB, sig unix.Signal) {
	t.Helper()
	if err := h.current().cmd.Process.Signal(sig); err != nil {
		t.Fatalf("could not send %v to the host: %v", sig, err)
	}
}

// Set writes a setting to the configuration file and has the host reload it, as
// ALTER SYSTEM SET and a reload do. Who has changed a value tells the log:
// `parameter "x" changed to "y"`. In a host that has ended it counts from its next
// start on.
func (h *Host) Set(t testing.TB, name, value string) {
	t.Helper()
	h.configure(t, name, value)
	if !h.current().hasExited() {
		h.Signal(t, unix.SIGHUP)
	}
}

// Stop shuts the host down fast, and fails the test unless it exits with code 0. No
// process of it is left then.
func (h *Host) Stop(t testing.TB) {
	t.Helper()
	h.Signal(t, unix.SIGINT)
	if code := h.Wait(t); code != 0 {
		t.Errorf("the host has exited with code %d; its log:\n%s", code, h.log.text())
	}
}

// Kill kills the host with SIGKILL, and returns when its workers, too, have ended on
// their own, which takes them less than a second. Start starts it again.
func (h *Host) Kill(t testing.TB) {
	t.Helper()
	h.Signal(t, unix.SIGKILL)
	_ = h.Wait(t)
}

// Wait waits until the host has ended, with all processes that it has ever started,
// and returns its exit code, which is -1 if a signal has ended it. It does not end
// it: that is for Signal.
func (h *Host) Wait(t testing.TB) int {
	t.Helper()
	p := h.current()
	if !p.awaitEnd(time.Until(deadline(t))) {
		t.Fatalf("the host, or a worker of it, has not ended; its log:\n%s", h.log.text())
	}
	return p.cmd.ProcessState.ExitCode()
}

// end kills the host at the end of a test.
func (h *Host) end(t testing.TB) {
	p := h.current()
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	if !p.awaitEnd(max(time.Until(deadline(t)), reserve/2)) {
		t.Errorf("a worker outlives its host")
	}
}
