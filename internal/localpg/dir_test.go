package localpg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// churn is roleChurn: what it has claimed must stay until it removes it.
func churn(root string) int {
	for range 200 {
		d, err := claimDir(root)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		mine := filepath.Join(d.path, "mine")
		err = os.WriteFile(mine, nil, 0o600)
		sweep(root)
		if err == nil {
			_, err = os.Stat(mine)
		}
		if err := errors.Join(err, d.remove()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func TestProcessesClaimAndSweepAtOnce(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	var actors []*actor
	for range 4 {
		actors = append(actors, startActor(t, roleChurn, temp))
	}
	victim := startActor(t, roleChurn, temp)
	eventually(t, "there is something to sweep", func() bool { return len(list(t, temp)) > 0 })
	victim.kill9(t) // wherever it is
	for _, a := range actors {
		check(t, a.cmd.Wait())
	}
	sweepAll(t, temp)
}

func TestProcessesStartAndStopAtOnce(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	var actors []*actor
	for range 3 {
		actors = append(actors, startActor(t, roleCycle, temp))
	}
	for _, a := range actors {
		check(t, a.cmd.Wait())
	}
}

func TestClaimedDirectoryCannotBeClaimed(t *testing.T) {
	t.Parallel()
	d, err := claimDir(tempDir(t))
	check(t, err)
	uid := uint32(os.Geteuid())
	if _, err := lockDir(d.path, uid); !errors.Is(err, errNotClaimed) {
		t.Errorf("second lock: %v", err)
	}
	check(t, d.remove())
	if _, err := lockDir(d.path, uid); !errors.Is(err, errNotClaimed) {
		t.Errorf("lock of what is gone: %v", err)
	}
}

func TestSweepTakesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	ours := filepath.Join(temp, dirPrefix+"1")
	others := []string{"somebody-else", dirPrefix + "file"}
	check(t, os.MkdirAll(filepath.Join(ours, "data", "base"), 0o700))
	check(t, os.Mkdir(filepath.Join(temp, others[0]), 0o700))
	check(t, os.WriteFile(filepath.Join(temp, others[1]), nil, 0o600))
	link := dirPrefix + "link" // to a directory that must not be swept for it
	check(t, os.Symlink(filepath.Join(temp, others[0]), filepath.Join(temp, link)))
	if os.Geteuid() == 0 { // a stranger's: neither root's nor the server user's
		others = append(others, dirPrefix+"2")
		check(t, os.Mkdir(filepath.Join(temp, dirPrefix+"2"), 0o700))
		check(t, os.Chown(filepath.Join(temp, dirPrefix+"2"), 12345, 12345))
	}
	sweep(temp)
	if exists(ours) {
		t.Errorf("%s is still there", ours)
	}
	for _, name := range append(others, link) {
		if !exists(filepath.Join(temp, name)) {
			t.Errorf("%s was swept", name)
		}
		check(t, os.RemoveAll(filepath.Join(temp, name)))
	}
}

func TestTempDirTooLongForASocket(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	long := filepath.Join(temp, strings.Repeat("x", 70))
	check(t, os.Mkdir(long, 0o755))
	defer os.Remove(long)
	_, err := Start(t.Context(), Options{TempDir: long})
	derr, ok := errors.AsType[*DirError](err)
	if !ok || derr.Dir != long || !strings.Contains(err.Error(), "107") || !strings.Contains(err.Error(), "HINT:") {
		t.Errorf("got %v", err)
	}
	if left := list(t, long); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLongestSocketPathThatFits(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	fits := filepath.Join(temp, strings.Repeat("x", maxSocketPath-len(longestSuffix)-len(temp)-1))
	check(t, os.Mkdir(fits, 0o755))
	defer os.RemoveAll(fits)
	s := start(t, Options{TempDir: fits, TCP: true})
	query(t, s.ConnInfo(), "SELECT 1")
	check(t, s.Stop(t.Context()))
}

func TestUnsuitableTMPDIRFallsBackToTmp(t *testing.T) {
	acct, err := serverAccount()
	check(t, err)
	closed := t.TempDir() // of mode 0700 somewhere, which stops the server's user if we are root
	for _, dir := range []string{"/tmp/" + strings.Repeat("x", 200), "/nonexistent", "/tmp/a,b"} {
		t.Setenv("TMPDIR", dir)
		if root, err := tempRoot("", acct); err != nil || root != "/tmp" {
			t.Errorf("TMPDIR=%s: %q, %v", dir, root, err)
		}
	}
	if acct.drop {
		check(t, os.Chmod(closed, 0o700))
		if _, err := tempRoot(closed, acct); err == nil || !strings.Contains(err.Error(), "cannot enter") {
			t.Errorf("closed to the server's user: %v", err)
		}
	}
}

func TestTempDirWithOddCharacters(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	odd := filepath.Join(temp, `it's "odd" \`)
	check(t, os.Mkdir(odd, 0o755))
	defer os.RemoveAll(odd)
	s := start(t, Options{TempDir: odd})
	query(t, s.ConnInfo(), "SELECT 1")
	check(t, s.Stop(t.Context()))
}

// sweepAll is the next run for tests that do not want another server.
func sweepAll(t *testing.T, temp string) {
	t.Helper()
	sweep(temp)
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left by the sweep: %v, %v", left, err)
	}
}
