package elog

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// OSReason returns what %m would print for an error of the operating system:
// Go has the texts of C's strerror, save that they begin with a small letter.
func OSReason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		text := errno.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
