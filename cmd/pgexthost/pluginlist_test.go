package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/library"
)

func TestTheListTellsALoadedLibraryWhoseFileIsGoneFromOneThatWasReplaced(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x")
	if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := library.IdentityOf(file)
	if err != nil {
		t.Fatal(err)
	}
	l := control.Library{Name: "x", Build: control.Build{File: file}, Identity: id}
	expect := func(want pluginState, reason string) {
		t.Helper()
		row := preloadedRow(l, library.Path{Search: dir})
		if row.State != want || !strings.HasPrefix(row.Reason, reason) {
			t.Errorf("got %s, %s, want %s, %s", row.State, row.Reason, want, reason)
		}
	}
	expect(pluginLoaded, "")
	if err := os.WriteFile(file+".new", []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	expect(pluginReplaced, "a reload would fail: ")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect(pluginMissing, `a reload would fail: could not access file "x"`)
}
