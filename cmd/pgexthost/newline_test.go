package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The lock file has a line for the path.
func TestADirectoryWithANewlineInItsPathIsRefused(t *testing.T) {
	dir := filepath.Join(shortTempDir(t), "two\nlines")
	says := "path of data directory \"" + dir + "\" contains a newline"
	pgexthost(t, "init", "-D", dir).want(t, 1, "", says)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("init has left it behind: %v", err)
	}
	if err := os.Rename(configured(t, ""), dir); err != nil {
		t.Fatal(err)
	}
	const waited = "waiting for server to start.... stopped waiting\n"
	pgexthost(t, "start", "-D", dir).want(t, 1, waited, "path of data directory")
}
