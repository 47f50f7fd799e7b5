package control

import (
	"context"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
)

// An operator asks why just when dozens of scripts are waiting for workers that
// do not start.
func TestThoseWhoWaitKeepNobodyFromAsking(t *testing.T) {
	f, dir := startServer(t)
	const crowd = 100
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, crowd)
	for range crowd {
		c := dial(t, dir)
		go func() {
			_, err := c.Do(ctx, Request{Op: OpLaunch, Launch: &Launch{Library: "l", Function: "f", RestartTime: plugins.NeverRestart}, Wait: true})
			done <- err
		}()
	}
	asking, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for registered, c := 0, dial(t, dir); registered < crowd; {
		r, err := c.Do(asking, Request{Op: OpPs})
		if err != nil {
			t.Fatalf("with %d who wait: %v", len(f.BackgroundWorkers()), err)
		}
		registered = len(r.Workers)
	}
	if _, err := dial(t, dir).Do(asking, Request{Op: OpWhy, Target: "l f"}); err != nil {
		t.Error(err)
	}
	cancel()
	for range crowd {
		<-done
	}
}

// "ps --watch" is one conversation that does not end.
func TestThoseWhoWatchKeepNobodyFromAsking(t *testing.T) {
	_, dir := startServer(t)
	asking, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for i := range 100 {
		if _, err := dial(t, dir).Do(asking, Request{Op: OpPs}); err != nil {
			t.Fatalf("with %d who watch: %v", i, err)
		}
	}
}
