package failpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// counter is the name of the file that counts how often a spec was reached at a
// point by a process.
func counter(point, process string) string {
	return strings.NewReplacer("/", "_", " ", "-").Replace(point + "," + process)
}

// Passed returns how often a point was passed in a run with that directory, as
// far as a spec with that process has asked for it. For a spec with "*" the
// process is the one that was there.
func Passed(dir string, p Point, process string) (int, error) {
	st, err := os.Stat(filepath.Join(dir, counter(p.String(), process)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return int(st.Size()), nil
}
