package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Template is a data directory fresh from initdb to copy from, which takes a
// tenth of the time initdb takes. A test binary makes one in TestMain, gives
// its Populate to every Start and closes it at the end. It must be of the same
// PostgreSQL major version as the servers. All copies have the same system
// identifier. Safe for concurrent use.
type Template struct {
	mu  sync.RWMutex // read-held while a copy is being made
	dir *ownedDir    // nil once closed
}

// NewTemplate runs initdb. Of the options only BinDir and TempDir count. It
// fails as Start does, and like a server's, the directory of a process that
// was killed is deleted by the next one.
func NewTemplate(ctx context.Context, opts Options) (*Template, error) {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	s, err := newServer(ctx, Options{BinDir: opts.BinDir, TempDir: opts.TempDir})
	if err != nil {
		return nil, err
	}
	if err := s.fill(ctx); err != nil {
		return nil, errors.Join(err, s.discard())
	}
	s.log.close()
	return &Template{dir: s.dir}, nil
}

// Populate copies the template; use it as Options.Populate.
func (t *Template) Populate(ctx context.Context, dataDir string) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.dir == nil {
		return ErrRemoved
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(t.dir.path, dataName))
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	for _, e := range entries {
		from := filepath.Join(t.dir.path, dataName, e.Name())
		if err := copyTree(from, filepath.Join(dataDir, e.Name())); err != nil {
			return fmt.Errorf("copy of template: %w", err)
		}
	}
	return nil
}

// Close deletes the template once the copies under way are done. Calling it
// again does nothing. Servers made from it are not affected.
func (t *Template) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dir == nil {
		return nil
	}
	dir := t.dir
	t.dir = nil
	if err := dir.remove(); err != nil {
		return fmt.Errorf("delete template: %w", err)
	}
	return nil
}
