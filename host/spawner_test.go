//go:build linux

package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// SPEC §4: which failures of a start are worth another try.
func TestWhyAFileCannotBeExecuted(t *testing.T) {
	dir := t.TempDir()
	program := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	busy := program("busy", "#!/bin/sh\n", 0o755)
	writer, err := os.OpenFile(busy, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := newSpawner()
	defer s.close()
	start := func(path string) spawned {
		result := make(chan spawned, 1)
		s.submit(spawnRequest{path: path, title: "x", files: []*os.File{nil, nil, nil}, done: func(r spawned) { result <- r }})
		return <-result
	}
	for _, tt := range []struct {
		path      string
		errno     unix.Errno
		text      string
		transient bool
	}{
		{filepath.Join(dir, "gone"), unix.ENOENT, "No such file or directory", false},
		{program("plain", "#!/bin/sh\n", 0o644), unix.EACCES, "Permission denied", false},
		{dir, unix.EACCES, "Permission denied", false},
		{program("text", "Once upon a time\n", 0o755), unix.ENOEXEC, "Exec format error", false},
		{program("without-interpreter", "#!/no/such/shell\n", 0o755), unix.ENOENT, "No such file or directory", false},
		{busy, unix.ETXTBSY, "Text file busy", true},
	} {
		r := start(tt.path)
		if r.err == nil {
			t.Fatalf("%s was started", tt.path)
		}
		if !errors.Is(r.err, tt.errno) || transient(r.err) != tt.transient || r.err.Error() != "could not execute \""+tt.path+"\": "+tt.text {
			t.Errorf("got %v, transient: %v; want %v, %v", r.err, transient(r.err), tt.errno, tt.transient)
		}
	}
	_ = writer.Close()
	for { // another test's child may have inherited the descriptor, until it is executed itself
		r := start(busy)
		if errors.Is(r.err, unix.ETXTBSY) {
			continue
		}
		if r.err != nil {
			t.Fatal(r.err)
		}
		(&shell{spawned: r}).expectEnd(t, "exited with exit code 0")
		break
	}
}

// A want of memory, from the kernel itself: it is what a fork into a PID
// namespace returns whose first process has ended.
func TestAWantOfMemoryIsTransient(t *testing.T) {
	s := newSpawner()
	defer s.close() // and with it the thread
	start := func(then func() error) spawned {
		type outcome struct {
			spawned
			err error
		}
		result := make(chan outcome, 1)
		s.submit(spawnRequest{path: "/bin/true", title: "true", files: []*os.File{nil, nil, nil}, done: func(r spawned) { result <- outcome{r, then()} }})
		o := <-result
		if o.err != nil {
			t.Skip("this machine lets us make no PID namespace: ", o.err)
		}
		return o.spawned
	}
	nothing := func() error { return nil }
	for _, then := range []func() error{func() error { return unix.Unshare(unix.CLONE_NEWPID) }, nothing} {
		r := start(then)
		if r.err != nil {
			t.Fatal(r.err)
		}
		(&shell{spawned: r}).expectEnd(t, "exited with exit code 0")
	}
	if r := start(nothing); !errors.Is(r.err, unix.ENOMEM) || !transient(r.err) || r.err.Error() != `could not execute "/bin/true": Cannot allocate memory` {
		t.Errorf("got %v", r.err)
	}
}

// Nobody can make the host's own program busy: it is being executed.
func TestARunningProgramCannotBeWrittenTo(t *testing.T) {
	f, err := os.OpenFile(executable, os.O_WRONLY, 0)
	if err == nil {
		_ = f.Close()
	}
	if !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("got %v", err)
	}
}
