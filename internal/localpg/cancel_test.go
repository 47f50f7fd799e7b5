package localpg

import (
	"context"
	"errors"
	"path/filepath"
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
	go func() {
		defer close(done)
		eventually(t, "initdb has a child", func() bool {
			pids := commandsWith(t, "initdb", temp)
			return len(pids) > 0 && len(pidsBelow(pids[0])) > 0
		})
		cancel(errCancelled)
	}()
	startCancelled(ctx, t, Options{TempDir: temp})
	<-done
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
