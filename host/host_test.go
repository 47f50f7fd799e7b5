package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

func TestChildrenSeeOnlyWhatConcernsThem(t *testing.T) {
	for name, want := range map[string]bool{
		"PGHOST": true, "PGPASSFILE": true, "HOME": true, "TZ": true, "LC_ALL": true, "LANG": true, "GOMAXPROCS": true,
		"AWS_SECRET_ACCESS_KEY": false, "LD_PRELOAD": false, "HOMEBREW": false, "TZDIR": false, "LD_LIBRARY_PATH": false,
	} {
		t.Setenv(name, "x")
		if got := slices.Contains(childEnvironment(), name+"=x"); got != want {
			t.Errorf("%s: inherited is %v", name, got)
		}
	}
	if env := childEnvironment(); env[0] != handshake.EnvChild+"=1" {
		t.Errorf("got %q first", env[0])
	}
}

func TestTransientFailuresOfSPEC4(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EAGAIN: true, unix.ENOMEM: true, unix.EMFILE: true, unix.ETXTBSY: true,
		unix.ENOENT: false, unix.EACCES: false, unix.ENOEXEC: false, nil: false,
	} {
		if err != nil {
			err = fmt.Errorf("could not execute: %w", err)
		}
		if got := transient(err); got != want {
			t.Errorf("%v: got %v", err, got)
		}
	}
}

// A preload child has run plugin code: what it sends is checked as if a
// stranger had sent it.
func TestAHostilePreloadResultIsRefused(t *testing.T) {
	saneWorker := plugins.BackgroundWorker{Name: "sane", Flags: plugins.ShmemAccess, NotifyPid: 1}
	sane := saneWorker.Descriptor()
	insane := shmem.Descriptor{Name: "insane", RestartTime: -77}
	for name, tt := range map[string]struct {
		result handshake.PreloadResult
		fails  bool
		keeps  int
		logs   string
	}{
		"insane workers are skipped": {handshake.PreloadResult{Workers: []shmem.Descriptor{insane, sane}}, false, 1, `background worker "insane": `},
		"too many workers":           {handshake.PreloadResult{Workers: slices.Repeat([]shmem.Descriptor{sane}, 9)}, true, 0, ""},
		"a host's own setting":       {handshake.PreloadResult{Settings: []guc.Definition{{Name: settings.MaxWorkerProcesses}}}, true, 0, ""},
		"a nonsense setting":         {handshake.PreloadResult{Settings: []guc.Definition{{Name: "x.y", Type: 99}}}, true, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			h := &host{log: elog.NewLogger(&log), store: guc.NewStore(settings.Definitions()...)}
			var loaded loadedLibrary
			_, _, err := h.acceptPreload(&loaded, guc.Registered{}, &preload{PreloadResult: tt.result})
			workers := loaded.static
			if (err != nil) != tt.fails || len(workers) != tt.keeps || !strings.Contains(log.String(), tt.logs) {
				t.Errorf("got %v, %v\n%s", workers, err, &log)
			}
			for _, w := range workers {
				if w.NotifyPid != 0 {
					t.Error("a static worker has a notify pid")
				}
			}
		})
	}
}

func TestInitLeavesNothingBehindWhenItFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	undo, err := claimDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	undo()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the directory is left")
	}
	file := filepath.Join(t.TempDir(), "no", "file")
	if err := writeFile(file, "x"); elog.CodeOf(err) != elog.UndefinedFile || !strings.Contains(err.Error(), "No such file or directory") {
		t.Errorf("got %v", err)
	}
	// Whatever stands in the way of the rename, the temporary file goes.
	target := filepath.Join(t.TempDir(), "dir")
	if err := os.MkdirAll(filepath.Join(target, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(target, "x"); err == nil {
		t.Error("a directory was overwritten")
	}
	if _, err := os.Stat(target + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a temporary file is left")
	}
}

func TestTheSpawnerReportsWhatItCannotExecute(t *testing.T) {
	s := newSpawner()
	defer s.close()
	result := make(chan spawned, 1)
	s.submit(spawnRequest{path: "/no/such/program", title: "x", files: []*os.File{nil, nil, nil}, done: func(r spawned) { result <- r }})
	r := <-result
	if !errors.Is(r.err, unix.ENOENT) || !strings.Contains(r.err.Error(), `"/no/such/program"`) {
		t.Errorf("got %v", r.err)
	}
}

func TestAChildIsReapedOnceItsDescriptorSaysSo(t *testing.T) {
	s := newSpawner()
	defer s.close()
	for want, script := range map[string]string{"exited with exit code 3": "exit 3", "was terminated by signal 9: Killed": "kill -9 $$"} {
		result := make(chan spawned, 1)
		// argv[0] is the title, so the shell reads its script from descriptor 0.
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s.submit(spawnRequest{path: "/bin/sh", title: "sh", files: []*os.File{r, nil, nil}, done: func(r spawned) { result <- r }})
		child := <-result
		if child.err != nil {
			t.Fatal(child.err)
		}
		if _, _, err := reap(child.pid); err == nil {
			t.Error("a living child was reaped")
		}
		_, _ = w.WriteString(script + "\n")
		_ = w.Close()
		_ = r.Close()
		pidfd := os.NewFile(uintptr(child.pidfd), "pidfd")
		if err := awaitExit(pidfd); err != nil {
			t.Fatal(err)
		}
		if status, _, err := reap(child.pid); err != nil || status.String() != want {
			t.Errorf("got %v, %v; want %s", status, err, want)
		}
		_ = pidfd.Close()
	}
}

// A main function that forgets RunChild would otherwise be told that the data
// directory is in use.
func TestAChildCannotBeAHost(t *testing.T) {
	t.Setenv(handshake.EnvChild, "1")
	h := &host{opts: Options{DataDir: t.TempDir()}}
	var e *elog.ErrorData
	if err := h.setUp(); !errors.As(err, &e) || e.Level != elog.Fatal || !strings.Contains(e.Hint, "plugins.RunChild") {
		t.Errorf("got %+v", err)
	}
}
