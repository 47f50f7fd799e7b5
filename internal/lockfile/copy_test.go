//go:build linux

package lockfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// copyOf copies the lock file of a directory into a new one.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	write(t, other, string(text))
	return other
}

func holderIn(t *testing.T, dir string) error {
	t.Helper()
	c, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Holder()
	if err == nil {
		p.Close()
	}
	return err
}

func TestACopiedLockFileHasNoHolder(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Remove()
	other := copyOf(t, dir)
	if err := holderIn(t, other); !errors.Is(err, ErrCopied) || !errors.Is(err, ErrGone) {
		t.Errorf("in the copy: got %v, want %v", err, ErrCopied)
	}
	if err := holderIn(t, dir); err != nil {
		t.Errorf("in the original: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := holderIn(t, link); err != nil {
		t.Errorf("by another path: %v", err)
	}
}

// Nobody else is where a directory was before it was moved, or a host of its own.
func TestAMovedLockFileHasAHolder(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	moved := copyOf(t, dir)
	f.Remove()
	if err := holderIn(t, moved); err != nil {
		t.Errorf("without another at the old place: %v", err)
	}
	write(t, dir, "1\n"+dir+"\n1\n0\n\n\n1 1\nready   \n")
	if err := holderIn(t, moved); err != nil {
		t.Errorf("with another at the old place: %v", err)
	}
}
