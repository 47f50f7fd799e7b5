package failpoint_test

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pgexthost/pgexthost/internal/failpoint"
)

// build makes the program of cmd/pgexthost and returns its text.
func build(t *testing.T, args ...string) []byte {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pgexthost")
	if out, err := exec.Command("go", slices.Concat([]string{"build", "-o", program}, args, []string{"../../cmd/pgexthost"})...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := buildinfo.ReadFile(program); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Not a name is left, and no call: the linker's tables would have the package's
// path.
func TestAnOrdinaryProgramHasNothingOfFailpoints(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
	t.Parallel()
	traces := []string{"internal/failpoint", failpoint.Variable, failpoint.ClaimLocked.String(), failpoint.Forked.String()}
	ordinary, special := build(t), build(t, "-tags", "failpoints")
	for _, trace := range traces {
		if bytes.Contains(ordinary, []byte(trace)) {
			t.Errorf("the ordinary program has %q", trace)
		}
		if !bytes.Contains(special, []byte(trace)) {
			t.Errorf("even a program with failpoints has no %q", trace)
		}
	}
}
