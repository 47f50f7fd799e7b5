package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// lister starts a host without a server, with two workers of worker_spi that
// wait for one and room for two more.
func lister(t *testing.T) hostDir {
	t.Helper()
	d := newHostDir(t)
	appendConfig(t, d.path, "shared_preload_libraries = worker_spi", "worker_spi.total_workers = 2", "max_worker_processes = 4", "server_conninfo = 'host=/nonexistent'")
	d.start(t).Close()
	return d
}

// ps returns what "ps --json" says, by the names of the workers.
func (d hostDir) ps(t *testing.T) map[string]map[string]any {
	t.Helper()
	r := d.control(t, "ps", "--json")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &rows); err != nil || r.code != 0 {
		t.Fatalf("%v\n%+v", err, r)
	}
	byName := make(map[string]map[string]any)
	for _, row := range rows {
		byName[row["name"].(string)] = row
	}
	return byName
}

func TestPsListsEveryColumn(t *testing.T) {
	d := lister(t)
	row := d.ps(t)["worker_spi worker 1"]
	var names []string
	for name := range row {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range []string{
		"slot", "generation", "pid", "name", "type", "library", "function", "state", "database", "wait_event", "activity", "query", "started_at", "restarts", "last_exit", "next_start",
	} {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s in %q", name, names)
		}
	}
	if row["state"] != "not_yet_started" || row["type"] != "worker_spi" || row["library"] != "worker_spi" || row["function"] != "worker_spi_main" ||
		row["slot"] != 1.0 || row["generation"] != 0.0 || row["restarts"] != 0.0 || row["started_at"] != nil {
		t.Errorf("got %v", row)
	}
	table := d.control(t, "ps")
	table.want(t, 0, "SLOT  GEN  PID", "")
	table.wantRow(t, "1", "worker_spi worker 1", "worker_spi_main", "not_yet_started")
}

func TestPsOfNobody(t *testing.T) {
	d := newHostDir(t)
	d.control(t, "ps").want(t, 1, "", "pgexthost: error: no server running\npgexthost: detail: There is no host in data directory \""+d.path+"\".\npgexthost: hint: Start it with")
	d.start(t).Close()
	d.control(t, "ps", "--json").exactly(t, 0, "[]\n", "")
	p := d.holder(t)
	defer p.Close()
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the host to be gone", func() bool { return d.control(t, "status").code == 3 })
	eventually(t, "its control server to be gone", func() bool { return d.control(t, "ps").code == 1 })
	d.control(t, "ps").want(t, 1, "", "no server running") // the socket is still there
	d.control(t, "start", "-l", d.log).want(t, 0, "server started\n", "trying to start server anyway")
	d.control(t, "ps", "--json").exactly(t, 0, "[]\n", "")
}

func TestPsWatches(t *testing.T) {
	d := lister(t)
	cmd := program("ps", "-D", d.path, "--watch")
	r := watchOutput(t, cmd, "\n\nSLOT", func() { // for the second time
		if err := cmd.Process.Signal(unix.SIGINT); err != nil {
			t.Error(err)
		}
	})
	if r.code != 0 || r.stderr != "" {
		t.Errorf("got %+v", r)
	}
}

// The control server is ended with all others when a worker crashes.
func TestPsWatchesOnWithTheNextControlServer(t *testing.T) {
	d := lister(t)
	cmd := program("ps", "-D", d.path, "--watch")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	waitFor(t, stdout, "\n\nSLOT")
	host := d.holder(t).Pid
	for _, p := range procsWith(fmt.Sprintf("%s=%d", asProgram, os.Getpid())) {
		if p.parent == host && p.title() == "control server" {
			if err := unix.Kill(p.pid, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the host to notice", func() bool { return strings.Contains(d.logged(t), "control server process (PID ") })
	for range 3 { // one may have been on its way
		waitFor(t, stdout, "\n\nSLOT")
	}
	d.control(t, "stop").want(t, 0, "server stopped\n", "")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("without a host: %v", err)
	}
}

func TestLaunchAndTerminate(t *testing.T) {
	d := lister(t)
	// One that fails, and is started again and again.
	r := d.control(t, "launch", "nosuch", "thing", "--name", "failing", "--type", "of some kind", "--arg", "-5", "--extra", "x", "--restart", "3600", "--start", "postmaster", "--wait")
	if pid, err := strconv.Atoi(strings.TrimSpace(r.stdout)); err != nil || pid <= 1 {
		t.Errorf("got %+v", r)
	}
	eventually(t, "the worker to fail", func() bool { return d.ps(t)["failing"]["state"] == "waiting" })
	row := d.ps(t)["failing"]
	if row["type"] != "of some kind" || row["last_exit"] != "exited with exit code 1" || row["last_sqlstate"] != "58P01" || row["next_start"] == nil {
		t.Errorf("got %v", row)
	}
	why := d.control(t, "why", "failing")
	why.want(t, 3, "background worker \"failing\" is started again in 3", "")
	why.want(t, 3, "could not access file \"nosuch\": No such file or directory (SQLSTATE 58P01).", "")

	// One that has to wait, and does not mind who waits with it. What launch
	// prints is good for why and terminate.
	r = d.control(t, "launch", "worker_spi", "worker_spi_main")
	handle := strings.TrimSpace(r.stdout)
	if _, err := plugins.ParseHandle(handle); err != nil || r.code != 0 {
		t.Errorf("%v; got %+v", err, r)
	}
	d.control(t, "why", handle).want(t, 3, "waits for the server: it starts when the server accepts writes, and the server is unreachable", "")
	d.control(t, "launch", "a", "b").want(t, 1, "", "pgexthost: error: out of background worker slots\npgexthost: hint: You might need to increase \"max_worker_processes\".")

	d.control(t, "terminate", "failing", "--wait").exactly(t, 0, "background worker \"failing\" is gone\n", "")
	d.control(t, "why", "failing").want(t, 3, "background worker \"failing\" was terminated at ", "")
	d.control(t, "terminate", "failing").want(t, 1, "", "there is no background worker \"failing\"")
	d.control(t, "terminate", "worker_spi worker 1").exactly(t, 0, "background worker \"worker_spi worker 1\" is being unregistered\n", "")
	eventually(t, "it to be unregistered", func() bool { return d.ps(t)["worker_spi worker 1"] == nil })
	d.control(t, "why", "worker_spi worker 1").want(t, 3, "was unregistered at ", "")

	d.control(t, "terminate", handle, "--wait").exactly(t, 0, "background worker \"worker_spi worker_spi_main\" is gone\n", "")
	d.control(t, "terminate", handle).want(t, 1, "", "there is no background worker \""+handle+"\"")

	// A wait can be given up; the worker stays.
	cmd := program("launch", "-D", d.path, "x", "y", "--name", "patient", "--wait")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be registered", func() bool { return d.ps(t)["patient"] != nil })
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), "canceled the wait for a background worker\n") {
		t.Errorf("the launch that was given up says %v\n%s", err, stderr.String())
	}
	if d.ps(t)["patient"]["state"] != "not_yet_started" {
		t.Errorf("got %v", d.ps(t))
	}
}

// A name may hold anything, and in garbage it does. On a terminal it can neither
// forge rows and columns nor move the cursor; in JSON it is what it is.
func TestNamesCannotForgeWhatPsShows(t *testing.T) {
	d := lister(t)
	if r := d.control(t, "launch", "nosuch", "thing", "--name", "a\n9\tforged\r\x1b[2J", "--restart", "3600", "--start", "postmaster"); r.code != 0 {
		t.Fatalf("got %+v", r)
	}
	const name = `a\n9\tforged\r?[2J`
	eventually(t, "it to have failed", func() bool {
		row := d.ps(t)["a\n9\tforged\r?[2J"]
		return row != nil && row["state"] == "waiting"
	})
	r := d.control(t, "ps")
	r.want(t, 0, " "+name+" ", "")
	if strings.ContainsAny(r.stdout, "\r\t\x1b") {
		t.Errorf("got %q", r.stdout)
	}
	d.control(t, "why", "a\n9\tforged\r?[2J").want(t, 3, "background worker \""+name+"\"", "")
	d.control(t, "terminate", "a\n9\tforged\r?[2J").exactly(t, 0, "background worker \""+name+"\" is being unregistered\n", "")
}

// No slot: static workers that were refused.
func TestWhyOfAWorkerWithoutASlot(t *testing.T) {
	d := newHostDir(t)
	appendConfig(t, d.path, "shared_preload_libraries = worker_spi", "worker_spi.total_workers = 2", "max_worker_processes = 1")
	d.start(t).Close()
	d.control(t, "why", "worker_spi worker 2").exactly(t, 3, "background worker \"worker_spi worker 2\" was not registered: too many background workers\n", "")
	d.control(t, "why", "worker_spi worker 3").want(t, 1, "", "there is no background worker \"worker_spi worker 3\"")
}

func TestMistakesOfTheWorkerCommands(t *testing.T) {
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"why"}, "which worker? say a name, a pid or a handle"},
		{[]string{"terminate"}, "which worker? say a name, a pid or a handle"},
		{[]string{"why", "a", "b"}, "too many command-line arguments"},
		{[]string{"launch", "a"}, "a library and a function are needed"},
		{[]string{"launch", "a", "b", "c"}, "too many command-line arguments"},
		{[]string{"launch", "a", "b", "--start", "soon"}, "invalid argument \"soon\" of --start"},
		{[]string{"launch", "a", "b", "--restart", "-1"}, "invalid argument \"-1\" of --restart"},
		{[]string{"launch", "a", "b", "--restart", "x"}, "invalid argument \"x\" of --restart"},
		{[]string{"ps", "x"}, "too many command-line arguments"},
		{[]string{"ps"}, "no data directory specified"},
	} {
		pgexthost(t, tt.args...).want(t, 1, "", tt.says)
	}
	d := lister(t)
	d.control(t, "launch", strings.Repeat("x", 2000), "b").want(t, 1, "", "background worker")
	d.control(t, "launch", "a", "b", "--restart", fmt.Sprint(1<<31-1)).want(t, 1, "", "invalid restart interval")
	d.control(t, "launch", "a", "b", "--extra", strings.Repeat("x", 129)).want(t, 1, "", "extra data are longer than 128 bytes")
}
