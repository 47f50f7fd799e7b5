package plugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestOnlyAnErrorForLackOfSomethingSpeaksOfLimits(t *testing.T) {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	files := fmt.Sprintf("This process may have %d files open at a time.", now.Cur)
	set := &limits.Limits{Memory: 1 << 30, Files: int(now.Cur)}
	const raiseFiles = `If it needs more, raise "files" of library "lib" in "library_limits".`
	own := elog.New(elog.Error, elog.IOError, "own").WithDetail("Its own.").WithHint("Keep it.").WithCause(unix.EMFILE)
	for name, tt := range map[string]struct {
		err          error
		limits       *limits.Limits
		detail, hint string
	}{
		"another error":       {errors.New("else"), set, "", ""},
		"files":               {os.NewSyscallError("open", unix.EMFILE), set, files, raiseFiles},
		"files, not limited":  {os.NewSyscallError("open", unix.EMFILE), nil, files, ""},
		"files, another's":    {unix.EMFILE, &limits.Limits{Files: 1 << 20}, files, ""},
		"memory":              {unix.ENOMEM, set, "This process may use 1 GB of memory.", `If it needs more, raise "memory" of library "lib" in "library_limits".`},
		"memory, not limited": {unix.ENOMEM, nil, "", ""},
		"with its own words":  {own, set, files + "\nIts own.", "Keep it."},
	} {
		report := elog.AsErrorData(tt.err, elog.Error)
		explainLimit(report, tt.err, handshake.Library{Name: "lib", Limits: tt.limits})
		if report.Detail != tt.detail || report.Hint != tt.hint {
			t.Errorf("%s: got %q, %q", name, report.Detail, report.Hint)
		}
	}
}

// A held worker leaves the news of its beginning where its host looks for it,
// whatever its working directory is.
func TestABeginningIsRecordedInTheDataDirectory(t *testing.T) {
	h := fakeHost(t, 1)
	dir := t.TempDir()
	h.Worker.settings.configFile = filepath.Join(dir, "pgexthost.conf")
	t.Chdir(t.TempDir())
	begun := filepath.Join(dir, settings.BegunDir)
	if err := os.Mkdir(begun, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (gate{request: 1, generation: 1}).recordBeginning(h.Worker); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(begun); err != nil || len(files) != 1 {
		t.Errorf("got %v, %v", files, err)
	}
}
