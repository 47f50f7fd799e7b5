package elog

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// fileAccessCodes says which SQLSTATE an error about a file gets.
var fileAccessCodes = []struct {
	code   SQLState
	errnos []unix.Errno
}{
	{InsufficientPrivilege, []unix.Errno{unix.EPERM, unix.EACCES, unix.EROFS}},
	{UndefinedFile, []unix.Errno{unix.ENOENT}},
	{DuplicateFile, []unix.Errno{unix.EEXIST}},
	{WrongObjectType, []unix.Errno{unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY}},
	{DiskFull, []unix.Errno{unix.ENOSPC}},
	{OutOfMemory, []unix.Errno{unix.ENOMEM}},
	{InsufficientResources, []unix.Errno{unix.ENFILE, unix.EMFILE}},
	{IOError, []unix.Errno{unix.EIO}},
}

// FileAccessCode returns the SQLSTATE of an error that the operating system
// returned for a file, [InternalError] for any other, and
// [SuccessfulCompletion] for nil. Mirrors errcode_for_file_access.
func FileAccessCode(err error) SQLState {
	if err == nil {
		return SuccessfulCompletion
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		for _, row := range fileAccessCodes {
			if slices.Contains(row.errnos, errno) {
				return row.code
			}
		}
	}
	return InternalError
}
