package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// misfit builds the library that behaves as its file is called.
var misfit = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "pgx-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "misfit"), "../../integration/fixtures/misfit")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return os.ReadFile(filepath.Join(dir, "misfit"))
})

func misfitAs(t *testing.T, name string) (file string) {
	t.Helper()
	text, err := misfit()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(shortTempDir(t), name)
	if err := os.WriteFile(file, text, 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheckSaysWhatALibraryIs(t *testing.T) {
	t.Parallel()
	file := misfitAs(t, "misfit")
	r := pgexthost(t, "plugin", "check", file)
	for _, line := range []string{
		file + ": a host would load it\n", "\n  library    misfit, started in ", "\n  functions  fail, greet\n",
		"\n  program    github.com/pgexthost/pgexthost/integration/fixtures/misfit, ", " (protocol 1, plugin ABI 1), go1.",
		"\n  worker     misfit worker: greet, starts with the host, never restarts\n", "\n  setting    misfit.greeting = hello (string, sighup)\n",
	} {
		if r.code != 0 || !strings.Contains(r.stdout, line) {
			t.Errorf("exit code %d, and no %q in\n%s%s", r.code, line, r.stdout, r.stderr)
		}
	}
	if strings.Contains(r.stderr, "error") || strings.Contains(r.stdout, "it says") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
}

// checked is what "plugin check --json" says, as others read it.
type checked struct {
	Loadable  bool     `json:"loadable"`
	Name      string   `json:"name"`
	ABI       int      `json:"abi"`
	GoVersion string   `json:"go_version"`
	Functions []string `json:"functions"`
	Workers   []struct {
		Name      string `json:"name"`
		Function  string `json:"function"`
		StartTime string `json:"start_time"`
	} `json:"workers"`
	Settings []struct {
		Name    string `json:"name"`
		Default string `json:"default"`
	} `json:"settings"`
	Problems []struct {
		Level    string `json:"level"`
		SQLState string `json:"sqlstate"`
		Message  string `json:"message"`
		Detail   string `json:"detail"`
		Hint     string `json:"hint"`
	} `json:"problems"`
	Stderr string `json:"stderr"`
}

// check runs "plugin check" on a library of that name.
func check(t *testing.T, name string, options ...string) (checked, result) {
	t.Helper()
	r := pgexthost(t, append([]string{"plugin", "check", "--json", misfitAs(t, name)}, options...)...)
	var c checked
	if err := json.Unmarshal([]byte(r.stdout), &c); err != nil {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	return c, r
}

func (c checked) complainsOf(level, text string) bool {
	for _, p := range c.Problems {
		if p.Level == level && strings.Contains(p.Message+"\n"+p.Detail+"\n"+p.Hint, text) {
			return true
		}
	}
	return false
}

func TestCheckAsJSON(t *testing.T) {
	t.Parallel()
	c, r := check(t, "misfit")
	if r.code != 0 || !c.Loadable || c.Name != "misfit" || c.ABI != 1 || !strings.HasPrefix(c.GoVersion, "go1.") || len(c.Functions) != 2 {
		t.Errorf("exit code %d, %+v", r.code, c)
	}
	if len(c.Workers) != 1 || c.Workers[0].Name != "misfit worker" || c.Workers[0].Function != "greet" || c.Workers[0].StartTime != "postmaster" {
		t.Errorf("workers: %+v", c.Workers)
	}
	if len(c.Settings) != 1 || c.Settings[0].Name != "misfit.greeting" || c.Settings[0].Default != "hello" {
		t.Errorf("settings: %+v", c.Settings)
	}
}

// Each is one that a host would leave out, or not start with, and for the same reason.
func TestCheckSaysWhyAHostWouldNotLoadALibrary(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"hangs":        `its Init has not returned within 3s`,
		"exits":        `exited with exit code 3`,
		"panics":       `exited with exit code 2`,
		"lies":         `incompatible library "lies": ABI mismatch`,
		"babbles":      `malformed handshake message: it starts with "Good"`,
		"init_panics":  `library "misfit" panicked in its Init: in Init`,
		"init_exits":   `exited with exit code 3`,
		"init_loops":   `its Init has not returned within 3s`,
		"init_goexits": `could not initialize library "misfit": it called runtime.Goexit`,
		"init_errors":  `could not initialize library "misfit": it does not like it here`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patience := "1min"
			if strings.Contains(says, "within") {
				patience = "3s"
			}
			c, r := check(t, name, "-c", "library_init_timeout="+patience)
			if r.code != 1 || c.Loadable || !c.complainsOf("ERROR", says) {
				t.Errorf("exit code %d, %+v", r.code, c)
			}
			if name == "panics" && !strings.Contains(c.Stderr, "panic: before plugins.Main\n") {
				t.Errorf("what it has said is %q", c.Stderr)
			}
		})
	}
}

func TestCheckOfAFileThatIsNoLibrary(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	for name, tt := range map[string]struct{ file, says string }{
		"nothing":     {filepath.Join(dir, "gone"), `pgexthost: error: could not access file "gone": No such file or directory`},
		"a directory": {dir, `: it is not a regular file`},
		"a text":      {"plugincheck.go", "pgexthost: error: could not load library \"plugincheck.go\": invalid ELF header\npgexthost: hint: A library is an executable"},
		"a program":   {os.Args[0], `missing magic block`},
		"postgres":    {misfitAs(t, "postgres"), `pgexthost: error: library name "postgres" is reserved`},
	} {
		r := pgexthost(t, "plugin", "check", tt.file)
		if want := tt.file + ": a host would not load it\n"; r.code != 1 || r.stdout[:len(want)] != want || !strings.Contains(r.stderr, tt.says) {
			t.Errorf("%s: exit code %d\n%s%s", name, r.code, r.stdout, r.stderr)
		}
	}
}

// A host would load these, but that is not all there is to say.
func TestCheckWarnsOf(t *testing.T) {
	t.Parallel()
	for name, says := range map[string][]string{
		"one":     {`the library calls itself "misfit", but its file is "one"`},
		"noisy":   {"the library writes to its standard output", "It begins with: stdout is no channel"},
		"dawdles": {"the library takes "},
		"init_misregisters": {
			`background worker "of another library" is not to run from this file, but from library "elsewhere"`,
			`could not find function "nosuch" in file "`, `Background worker "of no function" would fail at each start.`,
			`background worker "of no function": background workers without shared memory access are not supported`,
		},
		"init_registers_a_million": {"too many background workers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, r := check(t, name, "-c", "library_init_timeout=1min")
			if r.code != 0 || !c.Loadable || len(c.Problems) > 10 {
				t.Errorf("exit code %d, %+v", r.code, c)
			}
			for _, text := range says {
				if !c.complainsOf("WARNING", text) {
					t.Errorf("no %q among %+v", text, c.Problems)
				}
			}
		})
	}
}

// The settings are those of a host's command line.
func TestCheckTakesSettings(t *testing.T) {
	t.Parallel()
	c, r := check(t, "init_registers_a_million", "-c", "max_worker_processes=12", "-c", "library_init_timeout=1min")
	if r.code != 0 || len(c.Workers) != 12 {
		t.Errorf("exit code %d, %d workers", r.code, len(c.Workers))
	}
	r = pgexthost(t, "plugin", "check", misfitAs(t, "misfit"), "-c", "max_worker_processes=x")
	r.want(t, 1, "", `pgexthost: error: invalid value for parameter "max_worker_processes": "x"`)
}

func TestCheckLeavesNothing(t *testing.T) {
	temp := shortTempDir(t)
	file := misfitAs(t, "misfit")
	t.Setenv("TMPDIR", temp)
	pgexthost(t, "plugin", "check", file).want(t, 0, "a host would load it", "")
	expectEmpty(t, temp)
}

// Nor what an Init has started: that would keep what "plugin check" prints open, for one.
func TestCheckEndsWhatAnInitHasStarted(t *testing.T) {
	t.Parallel()
	c, r := check(t, "init_starts_a_process")
	pid, err := strconv.Atoi(strings.TrimSpace(c.Stderr))
	if err != nil || r.code != 0 {
		t.Fatalf("%v, exit code %d, %+v", err, r.code, c)
	}
	eventually(t, "its end", func() bool { // the kernel takes its time
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
