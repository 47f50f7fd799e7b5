package localpg

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// copyTree copies the directory from to the path to, which must not exist:
// directories, regular files and symbolic links, with their permissions.
// Contents are copied, never shared, and not flushed to disk.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch fi.Mode().Type() {
		case fs.ModeDir:
			// Ours to fill, whatever the original allows.
			return os.Mkdir(target, fi.Mode().Perm()|0o700)
		case fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case 0:
			return copyFile(path, target, fi.Mode().Perm())
		}
		return fmt.Errorf("cannot copy %q: %s is no file, directory or symbolic link", path, fi.Mode())
	})
}

func copyFile(from, to string, perm fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	_, err = io.Copy(out, in)
	return err
}
