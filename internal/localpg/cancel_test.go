package localpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Each test leaves it to tempDir to see that there is nothing left.

var errCancelled = errors.New("cancelled by the test")

func startCancelled(ctx context.Context, t *testing.T, opts Options) {
	t.Helper()
	_, err := Start(ctx, opts)
	if !errors.Is(err, errCancelled) {
		t.Errorf("got %v", err)
	}
	if left := commandsWith(t, opts.TempDir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}

func TestCancelledBeforeStart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCancelled)
	startCancelled(ctx, t, Options{TempDir: tempDir(t)})
}

func TestCancelledDuringInitdb(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	var pid int // of a backend of initdb
	go func() {
		defer close(done)
		eventually(t, "a backend of initdb has shared memory", func() bool {
			pid = backendOfInitdb(t, temp)
			return pid != 0 && len(segmentsOf(t, pid)) > 0
		})
		cancel(errCancelled)
	}()
	startCancelled(ctx, t, Options{TempDir: temp})
	<-done
	if left := segmentsOf(t, pid); len(left) > 0 {
		t.Errorf("System V segments left: %v", left)
	}
}

// backendOfInitdb returns the process that initdb works with, once that has
// written its lock file to the end, or 0.
func backendOfInitdb(t *testing.T, temp string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(temp, "*", dataName, "postmaster.pid"))
	check(t, err)
	if len(files) == 0 {
		return 0
	}
	text, err := os.ReadFile(files[0])
	lines := strings.Split(string(text), "\n")
	if err != nil || len(lines) < shmemLine || lines[shmemLine-1] == "" {
		return 0 // not yet, or no longer
	}
	pid, err := strconv.Atoi(strings.TrimPrefix(lines[0], "-"))
	check(t, err)
	return pid
}

func TestCancelledInPopulate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	startCancelled(ctx, t, Options{TempDir: tempDir(t), Populate: func(ctx context.Context, dir string) error {
		defer cancel(errCancelled)
		return template.Populate(ctx, dir)
	}})
}

func TestCancelledWhileWaitingForReadiness(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		eventually(t, "the server listens", func() bool {
			sockets, err := filepath.Glob(filepath.Join(temp, "*", ".s.PGSQL.5432"))
			return err == nil && len(sockets) > 0
		})
		cancel(errCancelled)
	}()
	startCancelled(ctx, t, Options{TempDir: temp, Populate: template.Populate,
		Settings: []string{"pre_auth_delay=60s"}}) // nobody ever gets in
	<-done
}
