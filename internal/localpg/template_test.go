package localpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTemplateCopiesAreIndependent(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	tmpl, err := NewTemplate(t.Context(), Options{TempDir: temp})
	check(t, err)
	a := start(t, Options{TempDir: temp, Populate: tmpl.Populate})
	query(t, a.ConnInfo(), "CREATE TABLE t AS SELECT 7 AS n")
	b := start(t, Options{TempDir: temp, Populate: tmpl.Populate})
	if got := query(t, b.ConnInfo(), "SELECT to_regclass('t') IS NULL"); got != "t" {
		t.Error("a table of one server is in the other")
	}
	check(t, tmpl.Close())
	check(t, tmpl.Close())
	check(t, a.Restart(t.Context()))
	if got := query(t, a.ConnInfo(), "SELECT n FROM t"); got != "7" {
		t.Errorf("table holds %q", got)
	}
	_, err = Start(t.Context(), Options{TempDir: temp, Populate: tmpl.Populate})
	if !errors.Is(err, ErrRemoved) {
		t.Errorf("start from a closed template: %v", err)
	}
}

func TestNewTemplateThatIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCancelled)
	if _, err := NewTemplate(ctx, Options{TempDir: tempDir(t)}); !errors.Is(err, errCancelled) {
		t.Errorf("got %v", err)
	}
}

// TestStandby shows that Populate is enough for a standby: later packages
// promote one under a running host.
func TestStandby(t *testing.T) {
	t.Parallel()
	primary := start(t, Options{})
	basebackup := primary.Binaries().Program("pg_basebackup")
	if basebackup == "" {
		t.Skip("this installation has no pg_basebackup")
	}
	standby := start(t, Options{Populate: func(ctx context.Context, dataDir string) error {
		_, err := ask(ctx, os.Environ(), basebackup, "-D", dataDir, "-d", primary.ConnInfo(), "-R", "-c", "fast", "--no-sync")
		return err
	}})
	if got := query(t, standby.ConnInfo(), "SELECT pg_is_in_recovery()"); got != "t" {
		t.Fatalf("in recovery: %s", got)
	}
	query(t, primary.ConnInfo(), "CREATE TABLE t AS SELECT 7 AS n")
	eventually(t, "the standby has the table", func() bool {
		return query(t, standby.ConnInfo(), "SELECT to_regclass('t') IS NOT NULL") == "t"
	})
	query(t, standby.ConnInfo(), "SELECT pg_promote()")
	query(t, standby.ConnInfo(), "INSERT INTO t VALUES (8)")
}

func TestCopyTree(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	check(t, os.MkdirAll(filepath.Join(from, "dir/empty"), 0o750))
	check(t, os.WriteFile(filepath.Join(from, "dir/file"), []byte("text"), 0o640))
	check(t, os.Symlink("dir/file", filepath.Join(from, "link")))
	check(t, copyTree(from, to))
	text, err := os.ReadFile(filepath.Join(to, "link"))
	check(t, err)
	if string(text) != "text" || !exists(filepath.Join(to, "dir/empty")) {
		t.Errorf("copied %q and %v", text, list(t, to))
	}
	link, err := os.Readlink(filepath.Join(to, "link"))
	check(t, err)
	fi, err := os.Stat(filepath.Join(to, "dir/file"))
	check(t, err)
	if link != "dir/file" || fi.Mode().Perm() != 0o640 {
		t.Errorf("link to %q, mode %v", link, fi.Mode())
	}
	if err := copyTree(from, to); !errors.Is(err, os.ErrExist) {
		t.Errorf("copy onto itself: %v", err)
	}
}

func BenchmarkStartStop(b *testing.B) {
	for name, populate := range map[string]func(context.Context, string) error{
		"initdb": nil, "template": template.Populate,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := Start(b.Context(), Options{Populate: populate})
				check(b, err)
				check(b, s.Stop(b.Context()))
			}
		})
	}
}
