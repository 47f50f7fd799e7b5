//go:build linux

package elog_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestReasonsReadAsThoseOfC(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{unix.ENOENT, "No such file or directory"},
		{unix.EEXIST, "File exists"},
		{unix.EFBIG, "File too large"},
		{unix.EMFILE, "Too many open files"},
		{unix.ELIBBAD, "Accessing a corrupted shared library"},
		{unix.EL2NSYNC, "Level 2 not synchronized"},
		{unix.ENOTNAM, "Not a XENIX named type file"},
		{unix.EBADF, "Bad file descriptor"},
		{unix.EXDEV, "Invalid cross-device link"},
		{unix.ENOTTY, "Inappropriate ioctl for device"},
		{unix.EMULTIHOP, "Multihop attempted"},
		{unix.ERFKILL, "Operation not possible due to RF-kill"},
		{fmt.Errorf("wrapped: %w", &fs.PathError{Op: "open", Path: "x", Err: unix.EDQUOT}), "Disk quota exceeded"},
		{&fs.PathError{Op: "read", Path: "x", Err: errors.New("it is not a regular file")}, "it is not a regular file"},
		{errors.New("something else"), "something else"},
	} {
		if got := elog.OSReason(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}
