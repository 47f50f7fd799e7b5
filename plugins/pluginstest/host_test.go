package pluginstest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

func TestAHostsWorkersAreProcessesWithDynamicWorkersOfTheirOwn(t *testing.T) {
	t.Parallel()
	h := pluginstest.StartHost(t, pluginstest.HostOptions{})
	following := h.AwaitLog(t, "LOG:  following")
	leader, follower := h.WorkerPid(t, "leader"), h.WorkerPid(t, "follower")
	if following.Worker != "follower" || following.Pid != follower || leader == follower || leader == os.Getpid() {
		t.Errorf("the leader is process %d, the follower %d, and got %+v", leader, follower, following)
	}
	if r := h.AwaitLog(t, fmt.Sprintf("the follower is process %d", follower)); r.Pid != leader || r.Level != elog.Log {
		t.Errorf("got %+v", r)
	}
	h.AwaitLog(t, "WARNING:  workers that wait for the server will not start")
	for _, r := range h.Log() {
		if r.Worker == "visitor" {
			t.Errorf("there is no server, and yet: %s", r)
		}
	}
	h.Stop(t)
	h.AwaitLog(t, "FATAL:  terminating background worker \"follower\" due to administrator command")
}

func TestAWorkerThatIsKilledIsStartedAgainByItsHost(t *testing.T) {
	t.Parallel()
	h := pluginstest.StartHost(t, pluginstest.HostOptions{})
	h.AwaitLog(t, "the leader says hello")
	before := h.WorkerPid(t, "leader")
	if err := unix.Kill(before, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.AwaitLog(t, fmt.Sprintf("background worker \"leader\" (PID %d) was terminated by signal 9: Killed", before))
	if twice := h.AwaitLogs(t, "the leader says hello", 2); twice[0].Pid != before || twice[1].Pid == before {
		t.Errorf("got %+v", twice)
	}
}

func TestAHostThatIsKilledLeavesNobodyAndStartsAgain(t *testing.T) {
	t.Parallel()
	h := pluginstest.StartHost(t, pluginstest.HostOptions{})
	h.AwaitLog(t, "following")
	pids := []int{h.Pid(), h.WorkerPid(t, "leader"), h.WorkerPid(t, "follower")}
	h.Kill(t)
	for _, pid := range pids {
		if !isGone(pid) {
			t.Errorf("process %d is there", pid)
		}
	}
	if code := h.Wait(t); code != -1 {
		t.Errorf("got exit code %d", code)
	}
	h.Start(t)
	if h.Pid() == pids[0] {
		t.Error("it is the same process")
	}
	h.AwaitLogs(t, "following", 2)
	h.Signal(t, unix.SIGTERM)
	if code := h.Wait(t); code != 0 {
		t.Errorf("got exit code %d", code)
	}
	h.AwaitLog(t, "LOG:  received smart shutdown request")
}

// isGone reports whether a process has ended, though nobody may have reaped it.
func isGone(pid int) bool {
	title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err != nil || len(title) == 0
}

func TestSetIsAReloadOrCountsFromTheNextStartOn(t *testing.T) {
	t.Parallel()
	h := pluginstest.StartHost(t, pluginstest.HostOptions{Settings: map[string]string{"pair.greeting": "it's me, \\o/"}})
	h.AwaitLog(t, "the leader says it's me, \\o/")
	h.Set(t, "pair.greeting", "still me")
	h.AwaitLog(t, "the leader says still me")
	h.Stop(t)
	h.Set(t, "pair.greeting", "me again")
	h.Start(t)
	h.AwaitLog(t, "the leader says me again")
}

// A cluster's crash is what its name says, for who is connected.
func TestAWorkerIsThereAgainWhenItsServerIs(t *testing.T) {
	t.Parallel()
	c := pluginstest.NewCluster(t, "cluster_name=mine")
	if got := c.Connect(t).Config().Database; got != "postgres" {
		t.Errorf("got database %s", got)
	}
	h := pluginstest.StartHost(t, pluginstest.HostOptions{Server: c.Postgres})
	h.AwaitLog(t, "the server is there")
	c.Crash(t)
	c.Restart(t)
	h.AwaitLogs(t, "the server is there", 2)
	c.Stop(t)
	c.Restart(t)
	h.AwaitLogs(t, "the server is there", 3)
	var name string
	if err := c.Connect(t).QueryRow(t.Context(), "SHOW cluster_name").Scan(&name); err != nil || name != "mine" {
		t.Errorf("the cluster's own setting is %q, %v", name, err)
	}
}

func TestAHostLoadsExecutables(t *testing.T) {
	t.Parallel()
	lib := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", lib, "../../cmd/worker_spi")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	db := pluginstest.Server(t).NewDatabase(t)
	h := pluginstest.StartHost(t, pluginstest.HostOptions{Server: db, Settings: map[string]string{
		"dynamic_library_path": lib, "shared_preload_libraries": "worker_spi", "worker_spi.total_workers": "1",
		"worker_spi.database": db.Connect(t).Config().Database,
	}})
	h.AwaitLog(t, "initialized with schema1.counted")
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", h.WorkerPid(t, "worker_spi worker 1")))
	if err != nil || program != filepath.Join(lib, "worker_spi") {
		t.Errorf("it runs %s, %v", program, err)
	}
}

func TestAHostCanBeAnyProgram(t *testing.T) {
	t.Parallel()
	h := pluginstest.StartHost(t, pluginstest.HostOptions{Command: func(dir string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], dir)
		cmd.Env = append(os.Environ(), asProgram+"=host")
		return cmd
	}})
	h.AwaitLog(t, "the leader says hello")
	h.Stop(t)
}

func TestMistakesWithHostsFailTheTest(t *testing.T) {
	needHosts(t)
	t.Parallel()
	with := func(name, value string) pluginstest.HostOptions {
		return pluginstest.HostOptions{Settings: map[string]string{name: value}}
	}
	for want, test := range map[string]func(t testing.TB){
		"neither the host nor a library has a setting \"pair.greting\"": func(t testing.TB) {
			pluginstest.StartHost(t, with("pair.greting", "hello"))
		},
		"the host has not started; its log:": func(t testing.TB) {
			pluginstest.StartHost(t, with("max_worker_processes", "-1"))
		},
		"\"max_worker_processes\"": func(t testing.TB) {
			pluginstest.StartHost(t, with("max_worker_processes", "-1"))
		},
		"could not start the host: fork/exec /nosuch: no such file or directory": func(t testing.TB) {
			pluginstest.StartHost(t, pluginstest.HostOptions{Command: func(string) *exec.Cmd { return exec.Command("/nosuch") }})
		},
		"the host runs already": func(t testing.TB) { pluginstest.StartHost(t, pluginstest.HostOptions{}).Start(t) },
		"the host has ended without logging \"nonsense\", 0 of 1 times": func(t testing.TB) {
			h := pluginstest.StartHost(t, pluginstest.HostOptions{})
			h.Kill(t)
			h.AwaitLog(t, "nonsense")
		},
		"the host does not come to log \"ready\", 1 of 2 times": func(t testing.TB) {
			pluginstest.StartHost(t, pluginstest.HostOptions{}).AwaitLogs(t, "ready", 2)
		},
		"could not send interrupt to the host": func(t testing.TB) {
			h := pluginstest.StartHost(t, pluginstest.HostOptions{})
			h.Kill(t)
			h.Stop(t)
		},
		"waited in vain for a process of worker \"nobody\"": func(t testing.TB) {
			pluginstest.StartHost(t, pluginstest.HostOptions{}).WorkerPid(t, "nobody")
		},
		"the host, or a worker of it, has not ended": func(t testing.TB) {
			pluginstest.StartHost(t, pluginstest.HostOptions{}).Wait(t)
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			wantFailure(t, want, test)
		})
	}
}

// outliving is what makes a test binary the victim of TestNoHostOutlivesTheTestBinary.
const outliving = "PLUGINSTEST_OUTLIVING"

// needHosts skips a test where there are none, as StartHost does.
func needHosts(t *testing.T) {
	t.Helper()
	if err := host.Supported(); err != nil {
		t.Skip(err)
	}
}

func TestNoHostOutlivesTheTestBinary(t *testing.T) {
	needHosts(t)
	t.Parallel()
	if file := os.Getenv(outliving); file != "" {
		h := pluginstest.StartHost(t, pluginstest.HostOptions{})
		h.AwaitLog(t, "following")
		text := fmt.Sprintf("%d %d %s", h.Pid(), h.WorkerPid(t, "leader"), h.Dir())
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		h.Wait(t)
	}
	file := filepath.Join(t.TempDir(), "file")
	binary := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	binary.Env = append(os.Environ(), outliving+"="+file)
	if err := binary.Start(); err != nil {
		t.Fatal(err)
	}
	var host, leader int
	var dir string
	pluginstest.Await(t, "the host of the other test binary", func() bool {
		text, _ := os.ReadFile(file)
		n, _ := fmt.Sscan(string(text), &host, &leader, &dir)
		return n == 3
	})
	_ = binary.Process.Kill()
	_ = binary.Wait()
	t.Cleanup(func() {
		if t.Failed() && !isGone(host) {
			_ = unix.Kill(host, unix.SIGKILL)
		}
	})
	pluginstest.Await(t, "the end of the host and its worker", func() bool {
		return isGone(host) && isGone(leader)
	})
	pluginstest.StartHost(t, pluginstest.HostOptions{}) // which cleans up
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is there: %v", err)
	}
}

// What a program prints that is no record is in the log all the same.
func TestAllThatAHostPrintsIsInItsLog(t *testing.T) {
	t.Parallel()
	h := pluginstest.StartHost(t, pluginstest.HostOptions{Command: func(dir string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-c", `echo "what's up" >&2; echo '{"a": 1}' >&2; exec "$0" "$1"`, os.Args[0], dir)
		cmd.Env = append(os.Environ(), asProgram+"=host")
		return cmd
	}})
	for _, want := range []string{"what's up", `{"a": 1}`} {
		if r := h.AwaitLog(t, want); r.String() != want || r.Level != 0 {
			t.Errorf("got %+v", r)
		}
	}
	if text, err := os.ReadFile(filepath.Join(h.Dir(), host.ConfigFileName)); err != nil || !strings.Contains(string(text), "\nlog_destination = 'jsonlog'\n") {
		t.Errorf("the configuration file: %v\n%s", err, text)
	}
}
