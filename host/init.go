package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Init makes a data directory with a commented configuration file, in which
// server_conninfo is set unless it is empty. The directory may exist if it is
// empty. On an error nothing is left behind that was not there before. Mirrors
// initdb.
func Init(path, conninfo string) (err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return fatal(elog.UndefinedFile, err, "could not determine the absolute path of directory \"%s\": %v", path, err)
	}
	if err := checkPath(abs); err != nil {
		return err
	}
	undo, err := claimDirectory(abs)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	return writeFile(filepath.Join(abs, ConfigFileName), settings.Sample(conninfo))
}

// claimDirectory makes sure that there is an empty directory of ours at path,
// and returns what takes it back.
func claimDirectory(path string) (undo func(), err error) {
	switch err := os.Mkdir(path, 0o700); {
	case err == nil:
		return func() { _ = os.Remove(path) }, nil
	case !errors.Is(err, fs.ErrExist):
		return nil, fatal(elog.FileAccessCode(err), err, "could not create directory \"%s\": %s", path, elog.OSReason(err))
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, cannotAccess("directory", path, err)
	}
	if len(entries) > 0 {
		return nil, elog.New(elog.Fatal, elog.ObjectNotInPrerequisite, "directory \"%s\" exists but is not empty", path).
			WithHint("If you want to create a new data directory, either remove or empty the directory \"%s\" or run pgexthost init with another one.", path)
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, cannotAccess("directory", path, err)
	}
	if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // a directory needs its x bit
		return nil, fatal(elog.InsufficientPrivilege, err, "could not change permissions of directory \"%s\": %s", path, elog.OSReason(err))
	}
	return func() { _ = os.Chmod(path, st.Mode().Perm()) }, nil
}

// writeFile puts a new file in place as a whole, or not at all, and durably.
func writeFile(path, text string) (err error) {
	tmp := path + ".tmp"
	wrap := func(err error) error {
		if err == nil {
			return nil
		}
		return fatal(elog.FileAccessCode(err), err, "could not write file \"%s\": %s", path, elog.OSReason(err))
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return wrap(err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return wrap(err)
	}
	return wrap(os.Rename(tmp, path))
}
