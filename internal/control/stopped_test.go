package control

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAStoppedWorkerIsSaidToBeStopped(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	doing := Answer{Running: true, Detail: "It waits for Extension:Nap."}
	if got := withProcess(doing, pid); got != doing {
		t.Errorf("got %+v", got)
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("it is not stopped: %v", err)
	}
	if got := withProcess(doing, pid); !strings.Contains(got.Detail, "SIGCONT") {
		t.Errorf("got %+v", got)
	}
	if got := withProcess(Answer{Detail: "d"}, pid); got.Detail != "d" {
		t.Errorf("not running: got %+v", got)
	}
}
