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

// The sweep of the next run may come while the orphan is still shutting down.
func TestKilledOwnerAndAnImmediateNextRun(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	owner := startActor(t, roleHold, temp)
	dir, pid := owner.ready(t)
	owner.kill9(t)
	start(t, Options{TempDir: temp})
	if exists(dir) {
		t.Errorf("%s survived the next start", dir)
	}
	eventually(t, "the orphan ends", func() bool { return !alive(pid) })
}

func TestKilledDuringInitdb(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	owner := startActor(t, roleInitdb, temp)
	var initdb []int
	eventually(t, "initdb has a child", func() bool {
		initdb = commandsWith(t, "initdb", temp)
		return len(initdb) > 0 && len(pidsBelow(initdb[0])) > 0
	})
	owner.kill9(t)
	eventually(t, "initdb and its children end", func() bool { return len(commandsWith(t, temp)) == 0 })
	start(t, Options{TempDir: temp})
	if left := list(t, temp); len(left) != 1 {
		t.Errorf("besides the running server's: %v", left)
	}
}

func TestKilledBetweenInitdbAndPostgres(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	owner := startActor(t, rolePopulate, temp)
	dir, _ := owner.ready(t)
	owner.kill9(t)
	start(t, Options{TempDir: temp})
	if exists(dir) {
		t.Errorf("%s survived the next start", dir)
	}
}

func TestOwnedDirectoryIsLeftAlone(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	owner := startActor(t, roleHold, temp)
	dir, pid := owner.ready(t)
	s := start(t, Options{TempDir: temp})
	check(t, s.Stop(t.Context()))
	query(t, "host="+dir+" port=5432 user=postgres dbname=postgres", "SELECT 1")
	owner.kill9(t)
	eventually(t, "the orphan ends", func() bool { return !alive(pid) })
	sweepAll(t, temp)
}
