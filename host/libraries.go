package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// libraryRequest asks for a library by name, as dynamic_library_path and
// library_limits were at the time.
type libraryRequest struct{ name, search, limits string }

// resolver finds out what there is under the name of a library. The spawner
// owns it: looking at files can hang as starting them can.
type resolver struct {
	libdir    string
	inspected map[string]inspection // by file; those that can be run
}

// inspection is what was found out about a file, which need not be looked into
// again until it is another.
type inspection struct {
	identity library.Identity
	program  *library.Program
}

// foundLibrary is what there was under the name of a library. The file's
// identity is that of before it was looked into.
type foundLibrary struct {
	handshake.Library
	inspection
	places []string // where it is: see placesOf
}

// placesOf returns everything that tells a file from others: two names lead to the
// same library if they have one of these in common. The path, since another file
// may have taken that place; the path without symbolic links, of which the same is
// true; and the file itself, which may have several names. Size and time guard
// against another file that was given its number. Mirrors the two ways in which
// internal_load_library finds a library among those that are loaded.
func placesOf(file string, is library.Identity) []string {
	places := []string{file}
	if real, err := filepath.EvalSymlinks(file); err == nil && real != file {
		places = append(places, real)
	}
	return append(places, fmt.Sprintf("file %d:%d of %d bytes at %d", is.Dev, is.Inode, is.Size, is.MTime))
}

// is reports whether two names have led to the same library.
func (f *foundLibrary) is(other *foundLibrary) bool {
	return slices.ContainsFunc(f.places, func(place string) bool { return slices.Contains(other.places, place) })
}

// build describes it.
func (f *foundLibrary) build() control.Build {
	b := control.BuildOf(f.File, f.program)
	b.CompiledIn = f.CompiledIn
	return b
}

func newResolver() *resolver {
	return &resolver{libdir: libdir(), inspected: make(map[string]inspection)}
}

// libdir is what $libdir stands for in this program.
func libdir() string {
	if program, err := os.Executable(); err == nil {
		return library.DefaultLibdir(program)
	}
	return "/usr/lib/pgexthost"
}

// resolve finds a library, and its limits. What is wrong with it is for the
// child to say, as it is in PostgreSQL, which then is one of the host's own
// program.
func (r *resolver) resolve(q libraryRequest) *foundLibrary {
	found := r.find(q)
	if found.File != "" || found.CompiledIn != "" {
		found.Limits = r.limitsOf(q.limits, &found.Library)
	}
	return found
}

// limitsOf returns the limits of a library that was found.
func (r *resolver) limitsOf(setting string, lib *handshake.Library) *limits.Limits {
	if setting == "" {
		return nil
	}
	table, err := limits.Parse(setting)
	if err != nil {
		return nil // can't be: the setting has been checked
	}
	return table.Of(lib.CompiledIn, lib.File)
}

func (r *resolver) find(q libraryRequest) *foundLibrary {
	found := &foundLibrary{Library: handshake.Library{Name: q.name}}
	if q.name == plugins.InternalLibrary {
		return found
	}
	at, err := library.Path{Search: q.search, Libdir: r.libdir, CompiledIn: plugins.Libraries()}.Find(q.name)
	if err == nil && at.CompiledIn != "" {
		found.CompiledIn, found.places = at.CompiledIn, []string{"$libdir/" + at.CompiledIn}
		return found
	}
	if err == nil {
		found.inspection, err = r.inspect(q.name, at.File)
	}
	if err != nil {
		found.Error = elog.AsErrorData(err, elog.Error)
		found.Error.Cause = nil // for this process only
		return found
	}
	found.File, found.places = at.File, placesOf(at.File, found.identity)
	return found
}

// inspect finds out which program a file is. The error says why the host can't
// run it as a library.
func (r *resolver) inspect(name, file string) (inspection, error) {
	identity, err := library.IdentityOf(file)
	if known, ok := r.inspected[file]; ok && err == nil && known.identity == identity {
		return known, nil
	}
	delete(r.inspected, file)
	program, err := library.Inspect(name, file)
	if err != nil {
		return inspection{}, err
	}
	r.inspected[file] = inspection{identity, program}
	return r.inspected[file], nil
}

// request is how children ask for a library.
func (h *host) request(name string) *libraryRequest {
	return &libraryRequest{name, h.store.String(settings.DynamicLibraryPath), h.store.String(settings.LibraryLimits)}
}

// preloadedBy returns the libraries that a worker's process initializes before
// it looks for its own.
func (h *host) preloadedBy(lib *foundLibrary) []string {
	var names []string
	for _, l := range h.libraries {
		switch {
		case lib == nil, l.leftOut != nil:
		case lib.File == "" && l.found.CompiledIn != "":
			names = append(names, l.found.CompiledIn)
		case lib.File != "" && l.found.is(lib):
			return []string{lib.Name}
		}
	}
	return names
}
