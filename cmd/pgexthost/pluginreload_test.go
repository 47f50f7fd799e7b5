package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/control"
)

// libraryDir returns a directory with worker_spi as an executable, and with what is
// no library.
func libraryDir(t *testing.T) string {
	t.Helper()
	dir := shortTempDir(t)
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "worker_spi"), "../worker_spi")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, text := range map[string]string{"script": "#!/bin/sh\n", "text": "text"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pluginRowsOf(t *testing.T, r result) map[string]pluginRow {
	t.Helper()
	var rows []pluginRow
	if err := json.Unmarshal([]byte(r.stdout), &rows); err != nil || r.code != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	byName := make(map[string]pluginRow)
	for _, row := range rows {
		byName[row.Name] = row
	}
	return byName
}

func TestPluginListAndReload(t *testing.T) {
	t.Parallel()
	d, libs := newHostDir(t), libraryDir(t)
	conf := "dynamic_library_path = '" + libs + ":$libdir'\nshared_preload_libraries = 'worker_spi'\n"
	if err := os.WriteFile(filepath.Join(d.path, "pgexthost.auto.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	plugin := func(name string, args ...string) result {
		return pgexthost(t, append([]string{"plugin", name, "-D", d.path}, args...)...)
	}
	if r := plugin("list"); !strings.Contains(r.stdout, "\nworker_spi ") || !strings.Contains(r.stderr, "no server running, showing what it could load") {
		t.Errorf("without a host: %+v", r)
	}
	plugin("reload", "worker_spi").want(t, 1, "", "pgexthost: error: no server running\n")
	d.start(t)
	rows := pluginRowsOf(t, plugin("list", "--json"))
	spi, compiledIn := rows["worker_spi"], rows["walk"]
	if rows["text"].Name != "" || rows["script"].Name != "" || spi.State != pluginLoaded || spi.File != filepath.Join(libs, "worker_spi") || len(spi.Workers) != 2 || len(spi.Functions) == 0 || len(spi.Settings) != 4 ||
		compiledIn.State != pluginAvailable || compiledIn.CompiledIn != "walk" {
		t.Errorf("got %+v, %+v", spi, compiledIn)
	}
	r := plugin("reload", "worker_spi")
	r.want(t, 0, `library "worker_spi" reloaded from `+spi.File, "")
	if !strings.Contains(r.stdout, `worker "worker_spi worker 1": not running: it waits for the server`) {
		t.Errorf("got %+v", r)
	}
	file := filepath.Join(libs, "worker_spi")
	if err := os.WriteFile(file+".new", []byte("text"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if row := pluginRowsOf(t, plugin("list", "--json"))["worker_spi"]; row.State != pluginReplaced || !strings.Contains(row.Reason, "a reload would fail: could not load library") {
		t.Errorf("got %+v", row)
	}
	plugin("reload", "worker_spi").want(t, 1, "", `pgexthost: error: library "worker_spi" was not reloaded: could not load library "worker_spi": invalid ELF header`)
	if table := plugin("list"); !regexp.MustCompile(`(?m)^worker_spi +replaced `).MatchString(table.stdout) || !strings.Contains(table.stdout, "\n  workers: worker_spi worker 1, worker_spi worker 2\n") {
		t.Errorf("got %s", table.stdout)
	}
	var reloaded control.Reloaded
	if r := plugin("reload", "walk", "--json"); json.Unmarshal([]byte(r.stdout), &reloaded) != nil || reloaded.Preloaded || !reloaded.Complete {
		t.Errorf("got %+v", r)
	}
	plugin("reload", "walk").want(t, 0, `library "walk" is not preloaded, and has no workers; the next one runs from the host itself`, "")
	d.control(t, "stop").want(t, 0, "server stopped", "")
}

func TestPluginUsageErrors(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		`no subcommand: one of `:                  {"plugin"},
		`unrecognized subcommand "fly" of plugin`: {"plugin", "fly"},
		`which library?`:                          {"plugin", "reload", "-D", "x"},
		`no data directory specified`:             {"plugin", "reload", "x"},
		`not a number of 0 or more`:               {"plugin", "reload", "x", "-t", "-1"},
		`too many command-line arguments`:         {"plugin", "list", "x"},
	} {
		pgexthost(t, args...).want(t, 1, "", says)
	}
	for _, c := range pluginCommands() {
		pgexthost(t, "plugin", c.name, "--help").want(t, 0, "Usage:\n  pgexthost plugin "+c.name, "")
	}
}

// What a reload has come to, in words.
func TestAReloadIsToldInWords(t *testing.T) {
	t.Parallel()
	r := &control.Reloaded{
		Library: "retention", Preloaded: true, Was: &control.Build{File: "/lib/retention", Version: "v1.2.0"}, Is: control.Build{File: "/lib/retention", Version: "v1.3.0"},
		Workers: []control.WorkerOutcome{
			{Name: "a", State: control.OutcomeRestarted, WasPid: 4711, Pid: 4712}, {Name: "b", State: control.OutcomeNew, Pid: 5},
			{Name: "c", State: control.OutcomeDraining, WasPid: 7, Pid: 7, Changed: true}, {Name: "d", State: control.OutcomeGone, WasPid: 8},
			{Name: "e", State: control.OutcomeEnding, Pid: 9}, {Name: "f", State: control.OutcomeRefused, Reason: "too many"},
		},
		Warnings: []control.ReloadedNotice{{Message: "mind", Detail: "The gap."}},
	}
	var stdout, stderr strings.Builder
	err := showReload(&stdout, &stderr, r, false)
	const want = `library "retention" reloaded from /lib/retention (v1.2.0 → v1.3.0)
worker "a": restarted (PID 4711 → 4712)
worker "b": new (PID 5)
worker "c": still draining (PID 7), with another registration
worker "d": not registered any more
worker "e": not registered any more, still ending (PID 9)
worker "f": refused: too many
`
	if stdout.String() != want || stderr.String() != "pgexthost: warning: mind\npgexthost: detail: The gap.\n" {
		t.Errorf("got\n%s%s", &stdout, &stderr)
	}
	if err == nil || exitCode(err) != 1 || !strings.Contains(err.Error(), `"c", "e"`) {
		t.Errorf("got %v", err)
	}
}

// What was built from a directory without a version is always "(devel)": that
// says nothing of whether the file is another.
func TestAReloadTellsWhichVersionItIsIfThereIsOne(t *testing.T) {
	build := func(version, revision string) control.Build {
		return control.Build{File: "/lib/x", Version: version, Revision: revision}
	}
	for _, tt := range []struct {
		was, is control.Build
		want    string
	}{
		{build("v1.0.0", ""), build("v1.1.0", ""), "/lib/x (v1.0.0 → v1.1.0)"},
		{build("v1.0.0", ""), build("v1.0.0", ""), "/lib/x (v1.0.0 as before)"},
		{build("v1.0.0", "a"), build("v1.0.0", "b"), "/lib/x (v1.0.0, revision a → b)"},
		{build("", ""), build("v1.0.0", ""), "/lib/x (unknown version → v1.0.0)"},
		{build("(devel)", ""), build("v1.0.0", ""), "/lib/x (devel → v1.0.0)"},
		{build("(devel)", "a"), build("(devel)", "b"), "/lib/x (devel, revision a → b)"},
		{build("(devel)", ""), build("(devel)", ""), "/lib/x"},
		{build("", ""), build("", ""), "/lib/x"},
	} {
		if got := buildChange(tt.was, tt.is); got != tt.want {
			t.Errorf("%v, then %v: got %s, want %s", tt.was, tt.is, got, tt.want)
		}
	}
}
