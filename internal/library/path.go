package library

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// pathParameter is the setting that errors name.
const pathParameter = "dynamic_library_path"

// Path is where libraries are looked for.
type Path struct {
	Search     string   // the value of dynamic_library_path
	Libdir     string   // what $libdir stands for
	CompiledIn []string // the libraries that are part of the host: they count as lying in $libdir
}

// Location is where a library was found. One of the two is set.
type Location struct {
	CompiledIn string // its name within the host
	File       string // the executable
}

// DefaultLibdir is what $libdir stands for in a host that runs from the given
// executable: lib/pgexthost beside its bin.
func DefaultLibdir(executable string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(executable)), "lib", "pgexthost")
}

// Find finds the library that a name stands for. The error is an
// *elog.ErrorData. Mirrors expand_dynamic_library_name.
func (p Path) Find(name string) (Location, error) {
	if !strings.Contains(name, "/") {
		return p.search(name)
	}
	file, err := p.substituteMacro(name)
	if err != nil {
		return Location{}, err
	}
	if strings.HasPrefix(name, "$libdir/") {
		if rest, err := filepath.Rel(p.Libdir, file); err == nil && p.has(rest) {
			return Location{CompiledIn: rest}, nil
		}
	}
	if !filepath.IsAbs(file) {
		// PostgreSQL takes it for relative to the data directory, too; but
		// there it is the server that writes there.
		return Location{}, p.notFound(name, unix.ENOENT).WithHint("A library's name is a plain one, which is looked for in \"dynamic_library_path\", or an absolute path.")
	}
	return p.file(name, file)
}

// search looks through the components of dynamic_library_path, in order.
// Mirrors find_in_dynamic_libpath.
func (p Path) search(name string) (Location, error) {
	dirs, err := p.Directories()
	if err != nil {
		return Location{}, err
	}
	for _, dir := range dirs {
		if dir == filepath.Clean(p.Libdir) && p.has(name) {
			return Location{CompiledIn: name}, nil
		}
		file := filepath.Join(dir, name)
		switch st, err := os.Stat(file); {
		case err == nil && !st.IsDir():
			return Location{File: file}, nil
		case err != nil && !isElsewhere(err):
			return Location{}, noAccess(file, err)
		}
	}
	return Location{}, p.notFound(name, unix.ENOENT)
}

// isElsewhere reports whether a failed look at a file leaves it open that the
// next directory has it. Mirrors the test in file_exists.
func isElsewhere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES)
}

// Directories returns the components of the search path, in order and in their
// shortest form: one is the same with and without a slash at its end.
func (p Path) Directories() ([]string, error) {
	if p.Search == "" { // nothing to search
		return nil, nil
	}
	var dirs []string
	for component := range strings.SplitSeq(p.Search, ":") {
		if component == "" {
			return nil, elog.New(elog.Error, elog.InvalidName, "zero-length component in parameter \"%s\"", pathParameter)
		}
		dir, err := p.substituteMacro(component)
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(dir) {
			return nil, elog.New(elog.Error, elog.InvalidName, "component in parameter \"%s\" is not an absolute path", pathParameter)
		}
		dirs = append(dirs, filepath.Clean(dir))
	}
	return dirs, nil
}

// substituteMacro replaces a leading $libdir. Mirrors
// substitute_libpath_macro.
func (p Path) substituteMacro(name string) (string, error) {
	if !strings.HasPrefix(name, "$") {
		return name, nil
	}
	macro, rest, _ := strings.Cut(name, "/")
	if macro != "$libdir" {
		return "", elog.New(elog.Error, elog.InvalidName, "invalid macro name in path: %s", name)
	}
	return filepath.Join(p.Libdir, rest), nil
}

func (p Path) has(name string) bool {
	return slices.Contains(p.CompiledIn, name)
}

// file answers a name with a slash in it.
func (p Path) file(name, file string) (Location, error) {
	st, err := os.Stat(file)
	if err == nil && st.IsDir() {
		err = &fs.PathError{Op: "open", Path: file, Err: unix.EISDIR}
	}
	if err != nil {
		return Location{}, p.notFound(name, err)
	}
	return Location{File: file}, nil
}

// notFound says that there is no such library, and which there are.
func (p Path) notFound(name string, err error) *elog.ErrorData {
	e := noAccess(name, err)
	if len(p.CompiledIn) == 0 {
		return e.WithHint("No libraries are compiled into this host, and \"dynamic_library_path\" is \"%s\".", p.Search)
	}
	if p.has(name) {
		return e.WithHint("It is compiled into this host, which \"$libdir\" stands for; but \"dynamic_library_path\" is \"%s\".", p.Search)
	}
	return e.WithHint("Libraries compiled into this host: %s. Others are looked for in \"dynamic_library_path\", which is \"%s\".", strings.Join(p.CompiledIn, ", "), p.Search)
}

// noAccess words the failure to get at a library's file.
func noAccess(name string, err error) *elog.ErrorData {
	return elog.New(elog.Error, elog.FileAccessCode(err), "could not access file \"%s\": %s", name, elog.OSReason(err)).WithCause(err)
}
