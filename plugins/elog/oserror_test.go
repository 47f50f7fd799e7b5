package elog_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// The codes of errcode_for_file_access, and the texts of %m.
func TestErrorsOfTheOperatingSystemAreWordedAsInC(t *testing.T) {
	for errno, want := range map[unix.Errno]struct {
		code elog.SQLState
		text string
	}{
		unix.EPERM:     {"42501", "Operation not permitted"},
		unix.EACCES:    {"42501", "Permission denied"},
		unix.EROFS:     {"42501", "Read-only file system"},
		unix.ENOENT:    {"58P01", "No such file or directory"},
		unix.EEXIST:    {"58P02", "File exists"},
		unix.ENOTDIR:   {"42809", "Not a directory"},
		unix.EISDIR:    {"42809", "Is a directory"},
		unix.ENOTEMPTY: {"42809", "Directory not empty"},
		unix.ENOSPC:    {"53100", "No space left on device"},
		unix.ENOMEM:    {"53200", "Cannot allocate memory"},
		unix.ENFILE:    {"53000", "Too many open files in system"},
		unix.EMFILE:    {"53000", "Too many open files"},
		unix.EIO:       {"58030", "Input/output error"},
		unix.EBUSY:     {"XX000", "Device or resource busy"},
		unix.EXDEV:     {"XX000", "Invalid cross-device link"},
	} {
		err := &fs.PathError{Op: "open", Path: "x", Err: errno}
		if code, text := elog.FileAccessCode(err), elog.OSReason(err); code != want.code || text != want.text {
			t.Errorf("%d: got %s %q, want %s %q", errno, code, text, want.code, want.text)
		}
	}
	other := errors.New("it is not a regular file")
	if code, text := elog.FileAccessCode(other), elog.OSReason(other); code != elog.InternalError || text != other.Error() {
		t.Errorf("got %s %q", code, text)
	}
	closed := &fs.PathError{Op: "read", Path: "x", Err: os.ErrClosed}
	if text := elog.OSReason(closed); text != "file already closed" {
		t.Errorf("got %q", text)
	}
	if code := elog.FileAccessCode(nil); code != elog.SuccessfulCompletion {
		t.Errorf("nil: got %s", code)
	}
}
