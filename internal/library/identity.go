package library

import (
	"os"

	"golang.org/x/sys/unix"
)

// Identity is what changes when a file is replaced or written to. Two are equal
// if it is the same file with the same contents, as far as that can be told
// without reading it.
type Identity struct {
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`
	Mode  uint32 `json:"mode"`
	MTime int64  `json:"mtime"` // nanoseconds since 1970, as CTime
	CTime int64  `json:"ctime"`
}

// IdentityOf returns the identity of the file that a path leads to. The error is
// the operating system's.
func IdentityOf(file string) (Identity, error) {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return Identity{}, &os.PathError{Op: "stat", Path: file, Err: err}
	}
	//nolint:unconvert // these have other sizes on some systems
	return Identity{Dev: uint64(st.Dev), Inode: st.Ino, Size: st.Size, Mode: uint32(st.Mode), MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano()}, nil
}
