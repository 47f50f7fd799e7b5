package connect

import "context"

// Initialize is InitializeConnection for anything that is like a worker.
func Initialize(ctx context.Context, w worker, dbname, username string, flags Flags, opts ...Option) (*Conn, error) {
	return initialize(ctx, w, byName{dbname, username}, flags, opts)
}

// InitializeByOID is InitializeConnectionByOID for anything that is like a worker.
func InitializeByOID(ctx context.Context, w worker, dboid, roleoid uint32, flags Flags, opts ...Option) (*Conn, error) {
	return initialize(ctx, w, byOID{dboid, roleoid}, flags, opts)
}
