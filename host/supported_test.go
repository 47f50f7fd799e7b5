package host_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// portable builds pgexthost as for a system that no hosts run on.
func portable(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "pgexthost")
	out, err := exec.Command("go", "build", "-tags", "portable", "-o", program, "../cmd/pgexthost").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

func TestHostsThatRunOnLinuxOnlySaySo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
	t.Parallel()
	program, dir := portable(t), filepath.Join(t.TempDir(), "host")
	run := func(args ...string) (code int, output string) {
		cmd := exec.Command(program, args...)
		var both bytes.Buffer
		cmd.Stdout, cmd.Stderr = &both, &both
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode(), both.String()
	}
	if code, output := run("init", "-D", dir); code != 0 {
		t.Fatalf("init: %s", output)
	}
	for _, args := range [][]string{
		{"run", "-D", dir}, {"start", "-D", dir}, {"restart", "-D", dir}, {"demo"}, {"plugin", "check", os.Args[0]}, {"config", "check", "-D", dir},
	} {
		code, output := run(args...)
		if code != 1 || !strings.Contains(output, "extension hosts run on Linux only\n") || !strings.Contains(output, "--standalone") {
			t.Errorf("%q: exit code %d: %s", args, code, output)
		}
	}
	if code, output := run("status", "-D", dir); code != 3 {
		t.Errorf("status: exit code %d: %s", code, output)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
}

func TestWhetherHostsRunIsToldWithItsSQLSTATE(t *testing.T) {
	t.Parallel()
	if err := host.Supported(); err != nil && elog.CodeOf(err) != elog.FeatureNotSupported {
		t.Errorf("got %v", err)
	}
}
