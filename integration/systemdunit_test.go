//go:build linux

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mostExposed is how much systemd may find exposed, in tenths: from 0, all of it
// is protected, to 100. What is left to see is the network, other users, and
// /proc/sys.
const mostExposed = "--threshold=15"

// newUnit writes the service's unit as an administrator would have it, but with
// a program that is there.
func newUnit(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze")
	}
	text, err := os.ReadFile("../examples/systemd/pgexthost@.service")
	if err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.Replace(string(text), "ExecStart=/usr/local/bin/pgexthost ", "ExecStart="+program+" ", 1)
	if unit == string(text) {
		t.Fatal("the unit does not start /usr/local/bin/pgexthost")
	}
	path := filepath.Join(t.TempDir(), "pgexthost@main.service")
	write(t, path, unit)
	return path
}

// olderSystemd is what a systemd before 253 says of Type=notify-reload; the line
// before that is for it.
var olderSystemd = regexp.MustCompile(`(?m)^\S+: Failed to parse service type, ignoring: notify-reload\n`)

func TestSystemdFindsNothingWrongWithTheUnit(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", newUnit(t)).CombinedOutput()
	if said := olderSystemd.ReplaceAllString(string(out), ""); err != nil || said != "" {
		t.Errorf("%v: %s", err, said)
	}
}

func TestTheUnitExposesLittle(t *testing.T) {
	t.Parallel()
	unit := newUnit(t)
	out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", mostExposed, unit).CombinedOutput()
	if strings.Contains(string(out), "unrecognized option") {
		t.Skip("this systemd-analyze can't judge a file")
	}
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}
