package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/testkit"
)

// limit bounds every wait.
const limit = 90 * time.Second

// beEngine is the environment variable that makes the test binary the first
// process of a container, before that becomes the container's program.
const beEngine = "PGEXTHOST_TEST_ENGINE"

// order is what to make a container of.
type order struct {
	Root       string
	Volume     string // a directory of ours, mounted at Mount
	Mount      string
	Uid, Gid   int
	Env, Words []string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(beEngine); text != "" {
		var o order
		err := json.Unmarshal([]byte(text), &o)
		if err == nil {
			err = o.become()
		}
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(125)
	}
	code := m.Run()
	removeImage()
	os.Exit(code)
}

// become turns this process, the first of its namespaces, into the container's
// program.
func (o order) become() error {
	runtime.LockOSThread() // which privileges there are is a matter of the thread
	if err := o.mount(); err != nil {
		return err
	}
	if unix.Geteuid() == 0 {
		if err := errors.Join(unix.Setgroups(nil), unix.Setgid(o.Gid), unix.Setuid(o.Uid)); err != nil {
			return fmt.Errorf("user: %w", err)
		}
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return fmt.Errorf("exec: %w", unix.Exec(o.Words[0], o.Words, o.Env))
}

// mount makes the file systems of the container all that there is, and all but
// the volume and /dev read-only.
func (o order) mount() error {
	var failed error
	try := func(what string, err error) {
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", what, err)
		}
	}
	at := func(path string) string { return filepath.Join(o.Root, path) }
	try("private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	try("root", unix.Mount(o.Root, o.Root, "", unix.MS_BIND|unix.MS_REC, ""))
	for _, dir := range []string{"proc", "dev"} { // engines make these, too
		if err := os.Mkdir(at(dir), 0o755); !errors.Is(err, os.ErrExist) {
			try(dir, err)
		}
	}
	try("proc", unix.Mount("proc", at("proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	try("dev", unix.Mount("dev", at("dev"), "tmpfs", unix.MS_NOSUID, "mode=755"))
	for _, device := range []string{"null", "zero", "full", "random", "urandom"} {
		try(device, os.WriteFile(at("dev/"+device), nil, 0o600))
		try(device, unix.Mount("/dev/"+device, at("dev/"+device), "", unix.MS_BIND, ""))
	}
	try("volume", unix.Mount(o.Volume, at(o.Mount), "", unix.MS_BIND, ""))
	try("read-only", unix.Mount("", o.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID, ""))
	try("chdir", os.Chdir(o.Root))
	try("pivot_root", unix.PivotRoot(".", "."))
	try("umount", unix.Unmount(".", unix.MNT_DETACH))
	try("chdir", os.Chdir("/"))
	return failed
}

// namespaces are the attributes of a container's first process. Who is not root
// becomes the image's user in a user namespace.
func namespaces(im *image) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Setsid: true, Pdeathsig: unix.SIGKILL}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: im.uid, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: im.gid, HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	return attr
}

// container is a running container.
type container struct {
	t      *testing.T
	image  *image
	cmd    *exec.Cmd
	env    []string
	log    string // a file
	exited chan struct{}
}

// newVolume is a new volume, which has the contents and the owner of the image's
// directory.
func (im *image) newVolume(t *testing.T) string {
	t.Helper()
	volume := filepath.Join(testkit.ShortTempDir(t), "volume")
	source := filepath.Join(im.root, im.volume)
	st, err := os.Stat(source)
	if err != nil {
		t.Fatal(err)
	}
	err = os.Mkdir(volume, st.Mode().Perm())
	if err == nil && os.Geteuid() == 0 {
		sys := st.Sys().(*syscall.Stat_t)
		err = os.Chown(volume, int(sys.Uid), int(sys.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	return volume
}

// run runs a container: its command is the image's unless there are words.
func (im *image) run(t *testing.T, volume string, env []string, words ...string) *container {
	t.Helper()
	if words == nil {
		words = im.command
	}
	c := &container{t: t, image: im, env: append(append([]string{}, im.env...), env...), log: filepath.Join(testkit.ShortTempDir(t), "log"), exited: make(chan struct{})}
	text, err := json.Marshal(order{
		Root: im.root, Volume: volume, Mount: im.volume, Uid: im.uid, Gid: im.gid,
		Env: c.env, Words: append(append([]string{}, im.entrypoint...), words...),
	})
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.Command("/proc/self/exe")
	c.cmd.Env = []string{beEngine + "=" + string(text)}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = namespaces(im)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the container dies with the thread that has started it
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait()
			close(c.exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.cleanUp)
	return c
}

func (c *container) cleanUp() {
	_ = c.cmd.Process.Kill()
	<-c.exited
	if c.t.Failed() {
		c.t.Logf("log of the container:\n%s", c.logged())
	}
}

func (c *container) logged() string {
	c.t.Helper()
	text, err := os.ReadFile(c.log)
	if err != nil {
		c.t.Error(err)
	}
	return string(text)
}

// eventually waits until something is so.
func (c *container) eventually(what string, condition func() bool) {
	c.t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func (c *container) waitLog(text string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%q in the log", text), func() bool { return strings.Contains(c.logged(), text) })
}

// signal is docker kill.
func (c *container) signal(name string) {
	c.t.Helper()
	sig := unix.SignalNum(name)
	if sig == 0 {
		c.t.Fatalf("there is no signal %q", name)
	}
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// exitCode waits for the end of the container. What a signal has ended has -1.
func (c *container) exitCode() int {
	c.t.Helper()
	select {
	case <-c.exited:
	case <-time.After(limit):
		c.t.Fatal("the container does not end")
	}
	return c.cmd.ProcessState.ExitCode()
}

// exec is docker exec: it runs a program in the container and returns what that
// says.
func (c *container) exec(words ...string) (out string, code int) {
	c.t.Helper()
	return c.enter([]string{"--mount", "--root", "--wd=/", "--setuid=" + strconv.Itoa(c.image.uid), "--setgid=" + strconv.Itoa(c.image.gid)}, words...)
}

// enter runs a program in the PID namespace of the container, and whatever else
// the options say.
func (c *container) enter(options []string, words ...string) (out string, code int) {
	c.t.Helper()
	args := []string{"--target", strconv.Itoa(c.cmd.Process.Pid), "--pid"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--preserve-credentials")
	}
	args = append(append(append(args, options...), "--"), words...)
	cmd := exec.Command("nsenter", args...)
	cmd.Env = append(append([]string{}, c.env...), "PATH="+os.Getenv("PATH"))
	text, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		c.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}
