package container

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/internal/testkit"
)

// runnableImage is the image, if containers can be made here.
func runnableImage(t *testing.T) *image {
	t.Helper()
	for _, program := range []string{"nsenter", "install"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	im := buildImage(t)
	text, err := json.Marshal(order{Root: im.root, Volume: im.newVolume(t), Mount: im.volume, Uid: im.uid, Gid: im.gid, Words: append(slices.Clone(im.entrypoint), "--version")})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.SysProcAttr = []string{beEngine + "=" + string(text)}, namespaces(im)
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" && os.Geteuid() == 0 {
			t.Fatalf("a container could not be made: %v\n%s", err, out)
		}
		t.Skipf("a container could not be made; it takes root, or user namespaces (kernel.unprivileged_userns_clone): %v\n%s", err, out)
	}
	return im
}

// server is a private server that containers can reach, and the environment that
// tells them how, as docker-compose.yml does.
func server(t *testing.T) (*localpg.Server, []string) {
	t.Helper()
	s := testkit.Start(t, localpg.Options{TCP: true, HBA: []string{"host all all all scram-sha-256"}}, "ALTER ROLE postgres PASSWORD 'of the image'")
	return s, []string{"PGPASSWORD=of the image", "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", s.Port()), "PGUSER=postgres", "PGDATABASE=postgres"}
}

const (
	ready = "LOG:  extension host is ready\n"
	down  = "LOG:  extension host is shut down\n"
)

func TestTheImageHoldsOneStaticProgramAndNoShell(t *testing.T) {
	im := buildImage(t)
	var files []string
	err := filepath.WalkDir(im.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, im.root)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.Type().IsRegular() {
			files = append(files, name)
		} else if !entry.IsDir() {
			t.Errorf("%s is neither a file nor a directory", name)
		}
		sys := info.Sys().(*syscall.Stat_t)
		switch owned := os.Geteuid() != 0 || sys.Uid == 0; {
		case name == "/tmp" && info.Mode().Perm() == 0o777 && info.Mode()&os.ModeSticky != 0:
		case name == im.volume && info.Mode().Perm() == 0o700 && (os.Geteuid() != 0 || int(sys.Uid) == im.uid):
		case info.Mode().Perm()&0o022 != 0 || !owned:
			t.Errorf("%s: the image's user may change it: mode %v, user %d", name, info.Mode(), sys.Uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/etc/group", "/etc/passwd", "/etc/ssl/certs/ca-certificates.crt", "/usr/local/bin/pgexthost"}; !slices.Equal(files, want) {
		t.Errorf("the files are %q, want %q", files, want)
	}
	program, err := elf.Open(filepath.Join(im.root, im.entrypoint[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("it needs %v, %v", libraries, err)
	}
	if im.uid == 0 || im.gid == 0 {
		t.Errorf("it runs as %s", im.user())
	}
	if data := im.variable(t, "PGEXTHOST_DATA"); filepath.Dir(data) != im.volume {
		t.Errorf("the data directory %s is not directly below the volume %s, which may belong to root", data, im.volume)
	}
}

func TestAHostIsTheFirstProcessOfItsContainer(t *testing.T) {
	im := runnableImage(t)
	pg, env := server(t)
	volume := im.newVolume(t)
	port := testkit.FreePort(t) // the machine's: a container of this test has no network of its own
	c := im.run(t, volume, env, append(append(slices.Clone(im.command), composeSettings(t)...), fmt.Sprintf("--set=port=%d", port))...)
	c.waitLog(ready)
	if out, code := c.exec(im.health...); code != 0 || !strings.HasPrefix(out, "pgexthost: server is running (PID: 1)\n") {
		t.Errorf("health check: exit code %d, %s", code, out)
	}
	c.waitLog("LOG:  gateway listening on address")
	for range 2 {
		runClient(t, pg, append(slices.Clone(env), fmt.Sprintf("PGPORT=%d", port)))
	}
	// Another container does the same with the volume and the server.
	e := im.run(t, volume, env, "extension", "install", "pgexthost", "--if-not-exists", "--dbname=postgres")
	if code := e.exitCode(); code != 0 || !strings.Contains(e.logged(), "already exists, skipping") {
		t.Errorf("extension install: exit code %d, %s", code, e.logged())
	}

	c.signal(im.stopSignal)
	if code := c.exitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, said := range []string{"LOG:  received fast shutdown request\n", `LOG:  background worker "worker_spi" `, down} {
		c.waitLog(said)
	}
	if _, err := os.Stat(filepath.Join(volume, filepath.Base(im.variable(t, "PGEXTHOST_DATA")), lockfile.Name)); !os.IsNotExist(err) {
		t.Errorf("the lock file is left behind: %v", err)
	}
}

// runClient is the client of docker-compose.yml.
func runClient(t *testing.T, pg *localpg.Server, env []string) {
	t.Helper()
	out := psql(t, pg, env, "--no-psqlrc", "--file=client.sql")
	for _, schema := range []string{"schema1", "schema2", "schema3"} {
		if !strings.Contains(out, "the total of "+schema+".counted has followed") {
			t.Errorf("the client says nothing of %s:\n%s", schema, out)
		}
	}
}

// psql runs the server's psql, or another.
func psql(t *testing.T, pg *localpg.Server, env []string, args ...string) string {
	t.Helper()
	program := pg.Binaries().Program("psql")
	if program == "" {
		var err error
		if program, err = exec.LookPath("psql"); err != nil {
			t.Skip("the client needs psql: ", err)
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("psql has failed: %v\n%s", err, out)
	}
	return string(out)
}

// composeSettings are the settings of the host in docker-compose.yml.
func composeSettings(t *testing.T) (args []string) {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ +- (--set=\S+)$`).FindAllStringSubmatch(string(text), -1) {
		args = append(args, m[1])
	}
	if len(args) == 0 {
		t.Fatal("docker-compose.yml has no settings")
	}
	return args
}

func TestOrphansOfAContainerAreReaped(t *testing.T) {
	im := runnableImage(t)
	c := im.run(t, im.newVolume(t), nil, append(slices.Clone(im.command), "-c", "log_min_messages=debug1")...)
	c.waitLog(ready)
	// The image has no shell: this one is of the machine's, in the container's PID
	// namespace. What it starts is an orphan as soon as it is gone.
	for code, end := range map[int]string{0: "exit 0", 3: "exit 3", 9: "kill -9 $$"} {
		out, _ := c.enter(nil, "sh", "-c", `sh -c 'while [ $PPID != 1 ] && kill -0 $PPID; do :; done; `+end+`' </dev/null >/dev/null 2>&1 & echo $!`)
		want := fmt.Sprintf("DEBUG:  untracked child process (PID %s) exited with exit code %d\n", strings.TrimSpace(out), code)
		if code == 9 {
			want = fmt.Sprintf("DEBUG:  untracked child process (PID %s) was terminated by signal 9: Killed\n", strings.TrimSpace(out))
		}
		c.waitLog(want)
	}
	leader := fmt.Sprintf("/proc/%d/task/%[1]d/children", c.cmd.Process.Pid)
	if text, err := os.ReadFile(leader); err != nil || len(text) > 0 {
		t.Errorf("orphans are left: %s, %v", text, err)
	}
	if text := c.logged(); strings.Contains(text, "server process") || strings.Contains(text, "reinitializing") {
		t.Error("an orphan was taken for a child")
	}
	c.signal(im.stopSignal)
	if code := c.exitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Each container has a process 1 of its own, so the pid in a lock file tells
// nothing of the one that has written it.
func TestAVolumeServesOneContainerAfterTheOther(t *testing.T) {
	im := runnableImage(t)
	volume := im.newVolume(t)
	killed := im.run(t, volume, nil)
	killed.waitLog(ready)

	second := im.run(t, volume, nil)
	if code := second.exitCode(); code != 1 {
		t.Errorf("a second host on the volume: exit code %d, want 1", code)
	}
	second.waitLog("FATAL:  ")
	status := im.run(t, volume, nil, "status")
	if code := status.exitCode(); code != 1 || !strings.Contains(status.logged(), "the server (PID 1) runs in another PID namespace") {
		t.Errorf("status in another container: exit code %d, %s", code, status.logged())
	}

	killed.signal("SIGKILL")
	killed.exitCode()
	next := im.run(t, volume, nil)
	next.waitLog(ready)
	next.signal("SIGTERM") // from those who don't ask the image for its signal
	if code := next.exitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	next.waitLog(down)
}

func TestAContainerThatCannotStartSaysWhy(t *testing.T) {
	im := runnableImage(t)
	c := im.run(t, im.newVolume(t), nil, append(slices.Clone(im.command), "--set=max_worker_processes=none")...)
	if code := c.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	c.waitLog(`FATAL:  invalid value for parameter "max_worker_processes": "none"`)
}
