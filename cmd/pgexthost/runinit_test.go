package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What a container does at its first start, on a new volume, and at all others.
func TestRunInitMakesTheDirectoryOnlyOnce(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"absent": func(string) error { return nil },
		"empty":  func(dir string) error { return os.Mkdir(dir, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			d := hostDir{path: filepath.Join(shortTempDir(t), "data")}
			t.Cleanup(func() { endHosts(t, d.path) })
			if err := prepare(d.path); err != nil {
				t.Fatal(err)
			}
			d.runAndStop(t, "--init")
			if st, err := os.Stat(d.path); err != nil || st.Mode().Perm() != 0o700 {
				t.Errorf("the directory has mode %v, %v", st.Mode(), err)
			}
			conf := filepath.Join(d.path, "pgexthost.conf")
			if err := os.WriteFile(conf, []byte("max_worker_processes = 5\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			d.runAndStop(t, "--init")
			if text, err := os.ReadFile(conf); string(text) != "max_worker_processes = 5\n" {
				t.Errorf("the configuration was replaced: %q, %v", text, err)
			}
		})
	}
}

// runAndStop runs a host in the foreground until it is ready, then stops it.
func (d hostDir) runAndStop(t *testing.T, args ...string) {
	t.Helper()
	cmd := d.program("run", args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, stderr, "extension host is ready")
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, stderr, "extension host is shut down\n")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRunInitLeavesADirectoryOfOthersAlone(t *testing.T) {
	dir := shortTempDir(t)
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("18\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	pgexthost(t, "run", "-D", dir, "--init").want(t, 1, "", "This is a data directory of PostgreSQL itself.")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}

func TestRunInitSaysWhyTheDirectoryCannotBeMade(t *testing.T) {
	pgexthost(t, "run", "-D", filepath.Join(t.TempDir(), "no", "data"), "--init").want(t, 1, "", "could not create directory")
}
