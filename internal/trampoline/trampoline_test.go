//go:build linux

package trampoline_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/internal/trampoline"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// prepare returns a command that is this test's own program, as a trampoline.
func prepare(t *testing.T, program, setting string, args ...string) *exec.Cmd {
	t.Helper()
	table, err := limits.Parse("lib: " + setting)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = args
	cmd.Stderr = os.Stderr
	cmd.Env = trampoline.Order{Program: program, Library: "lib", Limits: &table[0]}.Environment([]string{handshake.EnvChild + "=1", "KEPT=1", "GONE=1"})
	return cmd
}

// What is executed has the limits, and nothing of the trampoline's.
func TestTheProgramRunsWithItsLimits(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := prepare(t, "/bin/sh", `memory=20MB files=50 nice=3 no_new_privileges directory=`+dir+` env.X="a b" env.GONE`,
		"title", "-c", "echo $0; pwd; ulimit -d; ulimit -Sn; ulimit -Hn; nice; grep -c '^NoNewPrivs:.1$' /proc/self/status; env | grep -v -e ^PWD -e ^_ -e ^OLDPWD -e ^SHLVL | sort")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // what the kernel returns is 20 minus the niceness
	if err != nil || 20-own > 3 {
		t.Skip("the test itself is too nice")
	}
	want := strings.Join([]string{
		"title", dir, strconv.Itoa((20 + 40) << 10), "50", "50", "3", "1", "GOMEMLIMIT=18874368", "KEPT=1", handshake.EnvChild + "=1", "X=a b", "",
	}, "\n")
	if string(out) != want {
		t.Errorf("got %s, want %s", out, want)
	}
}

// Signals that arrive before the program can handle them wait for it.
func TestBlockedSignalsStayBlocked(t *testing.T) {
	cmd := prepare(t, "/bin/cat", "nice=1", "cat", "/proc/self/status")
	runtime.LockOSThread() // and let it die with its mask
	var mask unix.Sigset_t
	mask.Val[0] = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGPWR-1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), "\nSigBlk:\t")
	text, _, _ := strings.Cut(rest, "\n")
	blocked, err := strconv.ParseUint(text, 16, 64)
	if want := uint64(mask.Val[0]); err != nil || blocked&want != want { //nolint:unconvert // it has 32 bits on some machines
		t.Errorf("blocked: %x, %v", blocked, err)
	}
}

// A limit that is lower already stays so.
func TestALimitIsNeverRaised(t *testing.T) {
	cmd := prepare(t, "/bin/sh", "files=1048576", "sh", "-c", "ulimit -Hn")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	if want := strconv.FormatUint(min(now.Max, 1048576), 10); strings.TrimSpace(string(out)) != want {
		t.Errorf("got %s, want %s", out, want)
	}
	if raceDetector {
		t.Skip("with the race detector there is not enough memory")
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = prepare(t, "/bin/sh", "memory=1GB")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `ulimit -Sd 400000; exec "$0" -c "ulimit -Sd"`, own}
	if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != "400000" {
		t.Errorf("got %s, %v", out, err)
	}
}

// The host learns why the program does not run.
func TestAFailureIsTheAnswerToTheHost(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		program, setting, says string
		code                   elog.SQLState
	}{
		"no program":   {"/nowhere", "nice=1", `could not execute "/nowhere": No such file or directory`, elog.UndefinedFile},
		"wrong format": {text, "nice=1", `could not execute "` + text + `": Exec format error`, elog.InternalError},
		"memory, too":  {"/nowhere", "memory=16MB files=16", `could not execute "/nowhere": No such file or directory`, elog.UndefinedFile},
		"no directory": {"/bin/true", "directory=/nowhere", `could not set "directory" of library "lib" to "/nowhere": No such file or directory`, elog.UndefinedFile},
	} {
		t.Run(name, func(t *testing.T) {
			if raceDetector && strings.Contains(tt.setting, "memory") {
				t.Skip("with the race detector there is not enough memory")
			}
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
			defer ours.Close()
			cmd := prepare(t, tt.program, tt.setting, "title")
			cmd.ExtraFiles = []*os.File{theirs, theirs, theirs, theirs} // 3 to 6
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			_ = theirs.Close()
			_ = ours.SetDeadline(time.Now().Add(time.Minute))
			if err := handshake.Write(ours, handshake.Startup{}); err != nil {
				t.Fatal(err)
			}
			var hello handshake.Hello
			if err := handshake.Read(ours, &hello); err != nil || hello.Report == nil || hello.Report.Message != tt.says || hello.Report.Code != tt.code {
				t.Errorf("got %+v, %v", hello, err)
			}
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// As a host does, it waits for a program that is still being written.
func TestAProgramThatIsBeingWrittenIsWaitedFor(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("cp", "/bin/true", program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	writer, err := os.OpenFile(program, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := prepare(t, program, "nice=1", "title")
	withLifeline(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitNap(t, cmd.Process.Pid)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Nobody waits for it any more when the host dies.
func TestATrampolineThatWaitsEndsWithItsHost(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	writer, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	var said strings.Builder
	cmd := prepare(t, program, "nice=1", "title")
	cmd.Stderr = &said
	host := withLifeline(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitNap(t, cmd.Process.Pid)
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || said.Len() > 0 { // which it would say at the end of its patience
		t.Errorf("it ended with %v, and has said %s", err, said.String())
	}
}

// withLifeline gives a command the lifeline of a host, and returns the host's end.
func withLifeline(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	alive, host, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = alive.Close(), host.Close() })
	cmd.ExtraFiles = []*os.File{alive, alive} // 3 and 4
	return host
}

// awaitNap waits until the main thread of a process sleeps in the kernel.
func awaitNap(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(stat), ") Z ") {
			t.Fatal("it has ended")
		}
		if strings.Contains(string(stat), ") S ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not wait")
		}
	}
}
