package connect

import (
	"context"
	"sync"
	"testing"
)

// Initialize is InitializeConnection for anything that is like a worker.
func Initialize(ctx context.Context, w worker, dbname, username string, flags Flags, opts ...Option) (*Conn, error) {
	return initialize(ctx, w, byName{dbname, username}, flags, opts)
}

// InitializeByOID is InitializeConnectionByOID for anything that is like a worker.
func InitializeByOID(ctx context.Context, w worker, dboid, roleoid uint32, flags Flags, opts ...Option) (*Conn, error) {
	return initialize(ctx, w, byOID{dboid, roleoid}, flags, opts)
}

// StopAt has a function called at each later time a step of a bypass is reached.
func StopAt(step string, stop func()) {
	reached = func(s string) {
		if s == step {
			stop()
		}
	}
}

// AtStep has a function called when a step of a bypass is reached for the first
// time in a test.
func AtStep(t testing.TB, step string, act func()) {
	t.Helper()
	before := reached
	t.Cleanup(func() { reached = before })
	var once sync.Once
	StopAt(step, func() { once.Do(act) })
}
