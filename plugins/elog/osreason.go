package elog

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// cReasons has the texts of C's strerror where Go's differ, so that messages
// read as PostgreSQL's do.
var cReasons = map[unix.Errno]string{
	unix.ENOENT:  "No such file or directory",
	unix.EACCES:  "Permission denied",
	unix.EPERM:   "Operation not permitted",
	unix.ENOTDIR: "Not a directory",
	unix.EISDIR:  "Is a directory",
	unix.ELOOP:   "Too many levels of symbolic links",
	unix.EMFILE:  "Too many open files",
	unix.ENFILE:  "Too many open files in system",
	unix.ENOEXEC: "Exec format error",
	unix.EAGAIN:  "Resource temporarily unavailable",
	unix.ENOMEM:  "Cannot allocate memory",
	unix.ETXTBSY: "Text file busy",
	unix.ENOSPC:  "No space left on device",
	unix.EROFS:   "Read-only file system",

	unix.ECONNREFUSED: "Connection refused",
	unix.ECONNRESET:   "Connection reset by peer",
	unix.EHOSTUNREACH: "No route to host",
	unix.ENETUNREACH:  "Network is unreachable",
	unix.ETIMEDOUT:    "Connection timed out",
	unix.EPIPE:        "Broken pipe",
}

// OSReason returns what %m would print for an error of the operating system.
func OSReason(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		if text, ok := cReasons[errno]; ok {
			return text
		}
		return errno.Error()
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
