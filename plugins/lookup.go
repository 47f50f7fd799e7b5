package plugins

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// internalLibrary is the name behind which the internal entry points are.
const internalLibrary = "postgres"

// internalFunctions is the table of entry points that are part of the host
// itself. Mirrors InternalBGWorkers.
func internalFunctions() Functions {
	return Functions{
		"ParallelWorkerMain": parallelWorkerMain,
	}
}

// entryPoint is a function to run, and the library it was found in.
type entryPoint struct {
	library       Library
	main          MainFunc
	manualSignals bool
}

// lookupFunction finds the entry point of a worker. Mirrors
// LookupBackgroundWorkerFunction.
func (l *loader) lookupFunction(library, function string) (entryPoint, error) {
	if library == internalLibrary {
		main, ok := internalFunctions()[function]
		if !ok {
			return entryPoint{}, elog.New(elog.Error, elog.InternalError, "internal function \"%s\" not found", function)
		}
		return entryPoint{main: main}, nil
	}
	lib, err := l.load(library)
	if err != nil {
		return entryPoint{}, err
	}
	main, ok := lib.Functions[function]
	if !ok {
		return entryPoint{}, elog.New(elog.Error, elog.UndefinedFunction, "could not find function \"%s\" in file \"%s\"", function, library)
	}
	e := entryPoint{library: lib, main: main}
	for _, name := range lib.ManualSignals {
		e.manualSignals = e.manualSignals || name == function
	}
	return e, nil
}

// libraryPath says where libraries are looked for.
type libraryPath struct {
	path   string // dynamic_library_path
	libdir string // what $libdir stands for
}

// find finds the library that a name stands for. Libraries that are part of
// the program count as lying in $libdir. Mirrors expand_dynamic_library_name.
func (p libraryPath) find(name string) (Library, error) {
	if !strings.Contains(name, "/") {
		return p.search(name)
	}
	file, err := p.substituteMacro(name)
	if err != nil {
		return Library{}, err
	}
	if rest, ok := strings.CutPrefix(name, "$libdir/"); ok {
		if lib, ok := registeredLibrary(rest); ok {
			return lib, nil
		}
	}
	return Library{}, refuseFile(name, file)
}

// search looks through the components of dynamic_library_path, in order.
// Mirrors find_in_dynamic_libpath.
func (p libraryPath) search(name string) (Library, error) {
	if p.path == "" { // nothing to search: the name is all there is
		return Library{}, refuseFile(name, name)
	}
	for component := range strings.SplitSeq(p.path, ":") {
		if component == "" {
			return Library{}, elog.New(elog.Error, elog.InvalidName, "zero-length component in parameter \"%s\"", "dynamic_library_path")
		}
		dir, err := p.substituteMacro(component)
		if err != nil {
			return Library{}, err
		}
		if !filepath.IsAbs(dir) {
			return Library{}, elog.New(elog.Error, elog.InvalidName, "component in parameter \"%s\" is not an absolute path", "dynamic_library_path")
		}
		if component == "$libdir" {
			if lib, ok := registeredLibrary(name); ok {
				return lib, nil
			}
		}
		if file := filepath.Join(dir, name); isFile(file) {
			return Library{}, refuseFile(file, file)
		}
	}
	return Library{}, refuseFile(name, name)
}

// substituteMacro replaces a leading $libdir. Mirrors
// substitute_libpath_macro.
func (p libraryPath) substituteMacro(name string) (string, error) {
	if !strings.HasPrefix(name, "$") {
		return name, nil
	}
	macro, rest, _ := strings.Cut(name, "/")
	if macro != "$libdir" {
		return "", elog.New(elog.Error, elog.InvalidName, "invalid macro name in path: %s", name)
	}
	return filepath.Join(p.libdir, rest), nil
}

func isFile(name string) bool {
	st, err := os.Stat(name)
	return err == nil && !st.IsDir()
}

// refuseFile says why a file is not loaded: it can't be read, or it is no
// library this program could take into its own process.
func refuseFile(name, file string) error {
	st, err := os.Stat(file)
	if err == nil && st.IsDir() {
		err = &fs.PathError{Op: "open", Path: file, Err: unix.EISDIR}
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open(file); err == nil {
			_ = f.Close()
			return elog.New(elog.Error, elog.InternalError, "could not load library \"%s\": it is not compiled into this host", name).
				WithHint("%s", compiledInHint())
		}
	}
	code := elog.UndefinedFile
	if os.IsPermission(err) {
		code = elog.InsufficientPrivilege
	}
	return elog.New(elog.Error, code, "could not access file \"%s\": %s", name, elog.OSReason(err)).WithHint("%s", compiledInHint()).WithCause(err)
}

func compiledInHint() string {
	names := Libraries()
	if len(names) == 0 {
		return "No libraries are compiled into this host."
	}
	return "Libraries compiled into this host: " + strings.Join(names, ", ") + "."
}
