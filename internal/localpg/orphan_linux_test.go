//go:build !portable

package localpg

import (
	"testing"
)

func TestKilledOwner(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	owner := startActor(t, roleHold, temp)
	dir, pid := owner.ready(t)
	pids := append(pidsBelow(pid), pid)
	if len(pids) < 3 || !alive(pid) {
		t.Fatalf("not much of a server: %v", pids)
	}
	owner.kill9(t)
	for _, pid := range pids {
		eventually(t, "every process of the server ends", func() bool { return !alive(pid) })
	}
	if !exists(dir) {
		t.Fatal("the directory is gone: there is nothing left to prove")
	}
	if left := segmentsOf(t, pid); len(left) > 0 {
		t.Errorf("System V segments left: %v", left)
	}
	start(t, Options{TempDir: temp})
	if exists(dir) {
		t.Errorf("%s survived the next start", dir)
	}
}
