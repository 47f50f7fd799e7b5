package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// refusal returns a report as one line: "22023: message | detail | hint".
func refusal(err error) string {
	if err == nil {
		return ""
	}
	e := elog.AsErrorData(err, elog.Error)
	return fmt.Sprintf("%s: %s | %s | %s", e.Code, e.Message, e.Detail, e.Hint)
}

func TestADirectoryThatOthersCouldReachIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	if err := Init(dir, ""); err != nil {
		t.Fatal(err)
	}
	invalid := fmt.Sprintf("55000: data directory \"%s\" has invalid permissions | Permissions should be u=rwx (0700) or u=rwx,g=rx (0750). | ", dir)
	for mode, want := range map[os.FileMode]string{
		0o700: "", 0o750: "", 0o710: "", 0o740: "",
		0o720: invalid, 0o770: invalid, 0o704: invalid, 0o702: invalid, 0o701: invalid, 0o777: invalid,
	} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := refusal(CheckDataDir(dir)); got != want {
			t.Errorf("%o: got %q, want %q", mode, got, want)
		}
	}
}

func TestADirectoryOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a directory away takes root")
	}
	dir := filepath.Join(t.TempDir(), "host")
	if err := Init(dir, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 1, 1); err != nil {
		t.Skip("this machine lets nobody give a directory away: ", err)
	}
	want := fmt.Sprintf("55000: data directory \"%s\" has wrong ownership |  | The host must be started by the user that owns the data directory.", dir)
	if got := refusal(CheckDataDir(dir)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Sockets have names of 107 bytes at most. 92 are left for the directory, and
// that is found out before it is filled, and before a host runs in it.
func TestTheDirectoryLeavesRoomForSockets(t *testing.T) {
	parent, err := os.MkdirTemp("/tmp", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	const longest = 92
	long := filepath.Join(parent, strings.Repeat("d", longest-len(parent)-1))
	if err := Init(long, ""); err != nil {
		t.Errorf("%d bytes: %v", len(long), err)
	}
	if err := CheckDataDir(long); err != nil {
		t.Errorf("%d bytes: %v", len(long), err)
	}
	longer := long + "d"
	want := fmt.Sprintf("54000: Unix-domain socket path \"%s/.s.PGSQL.65535\" is too long (maximum 107 bytes) |  | "+
		"Use a data directory with a path of at most 92 bytes, for instance a symbolic link to it.", longer)
	if got := refusal(Init(longer, "")); got != want {
		t.Errorf("init: got %q, want %q", got, want)
	}
	if _, err := os.Stat(longer); err == nil {
		t.Error("init has made it all the same")
	}
	if err := os.Rename(long, longer); err != nil {
		t.Fatal(err)
	}
	if got := refusal(CheckDataDir(longer)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(longer, link); err != nil {
		t.Fatal(err)
	}
	if err := CheckDataDir(link); err != nil {
		t.Errorf("through a symbolic link: %v", err)
	}
}
