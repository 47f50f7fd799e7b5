package localpg

import (
	"path/filepath"
	"testing"
)

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

// sweepAll is the next run for tests that do not want another server.
func sweepAll(t *testing.T, temp string) {
	t.Helper()
	sweep(temp)
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left by the sweep: %v, %v", left, err)
	}
}
