//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// SPEC §4: a program that may not be executed any more is a permanent failure,
// which counts as exit 1 at once. Who waits is answered; a worker with a restart
// time tries again after it.
func TestAProgramThatMayNotBeExecutedIsAFailedStart(t *testing.T) {
	t.Parallel()
	program := filepath.Join(shortTempDir(t), "program")
	copyFile(t, os.Args[0], program)
	h, ls := startLaunchers(t, []string{"l"}, fromProgram(program))
	l := ls[0]
	again := waiter("again")
	again.RestartTime = 1
	handle := l.register(again)
	l.awaitStart(handle)
	h.waitLog(`LOG:  again waits$`)
	if err := os.Chmod(program, 0o644); err != nil {
		t.Fatal(err)
	}
	const refused = `LOG:  could not fork background worker process: could not execute "/proc/self/exe": Permission denied$`
	if a := l.do(order{Do: "await start", Handle: l.register(waiter("once"))}); !a.Stopped || a.Code != "53000" {
		t.Errorf("who waits is told %+v", a)
	}
	h.waitLog(refused)
	h.waitLog(`DEBUG:  unregistering background worker "once"$`)
	kill(t, h.workerPid("again"), unix.SIGKILL)
	h.waitLogCount(refused, 3) // the second and third are its
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	h.waitLogCount(`LOG:  again waits$`, 2)
	h.stop()
	if n := h.count(`DEBUG:  starting background worker process "once"$`); n != 1 {
		t.Errorf("%d attempts", n)
	}
}
