package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// shortTempDir is a temporary directory with a path short enough for sockets,
// which the unprivileged user of a private server can reach.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgx-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func expectEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// waitFor reads lines until one contains the text.
func waitFor(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var b strings.Builder
	one := make([]byte, 1) // no buffer: the next call goes on where this one ends
	for {
		if _, err := io.ReadFull(r, one); err != nil {
			t.Fatalf("the output ended without %q:\n%s", text, b.String())
		}
		b.Write(one)
		if strings.HasSuffix(b.String(), text) {
			return
		}
	}
}
