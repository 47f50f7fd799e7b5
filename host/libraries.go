package host

import (
	"os"

	"golang.org/x/sys/unix"

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
	inspected map[string]inspection // by file
}

// inspection is what was found out about a file, which need not be looked into
// again until it is another.
type inspection struct {
	file fileIdentity
	err  *elog.ErrorData
}

// fileIdentity is what changes when a file is replaced or written to.
type fileIdentity struct {
	dev, ino     uint64
	size         int64
	mode         uint32
	mtime, ctime unix.Timespec
}

func newResolver() *resolver {
	r := &resolver{libdir: "/usr/lib/pgexthost", inspected: make(map[string]inspection)}
	if program, err := os.Executable(); err == nil {
		r.libdir = library.DefaultLibdir(program)
	}
	return r
}

// resolve finds a library, and its limits. What is wrong with it is for the
// child to say, as it is in PostgreSQL, which then is one of the host's own
// program.
func (r *resolver) resolve(q libraryRequest) *handshake.Library {
	found := r.find(q)
	if found.File != "" || found.CompiledIn != "" {
		found.Limits = r.limitsOf(q.limits, found)
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

func (r *resolver) find(q libraryRequest) *handshake.Library {
	found := &handshake.Library{Name: q.name}
	if q.name == plugins.InternalLibrary {
		return found
	}
	at, err := library.Path{Search: q.search, Libdir: r.libdir, CompiledIn: plugins.Libraries()}.Find(q.name)
	if err != nil {
		found.Error = elog.AsErrorData(err, elog.Error)
		found.Error.Cause = nil // for this process only
		return found
	}
	if at.CompiledIn != "" {
		found.CompiledIn = at.CompiledIn
		return found
	}
	if found.Error = r.inspect(q.name, at.File); found.Error == nil {
		found.File = at.File
	}
	return found
}

// inspect returns why the host can't run a file as a library, or nil.
func (r *resolver) inspect(name, file string) *elog.ErrorData {
	var st unix.Stat_t
	if unix.Stat(file, &st) != nil {
		delete(r.inspected, file)
	}
	identity := fileIdentity{st.Dev, st.Ino, st.Size, st.Mode, st.Mtim, st.Ctim}
	if known, ok := r.inspected[file]; ok && known.file == identity && known.err == nil {
		return nil
	}
	_, err := library.Inspect(name, file)
	if err == nil {
		r.inspected[file] = inspection{identity, nil}
		return nil
	}
	delete(r.inspected, file)
	report := elog.AsErrorData(err, elog.Error)
	report.Cause = nil
	return report
}

// request is how children ask for a library.
func (h *host) request(name string) *libraryRequest {
	return &libraryRequest{name, h.store.String(settings.DynamicLibraryPath), h.store.String(settings.LibraryLimits)}
}

// preloadedBy returns the libraries that a worker's process initializes before
// it looks for its own.
func (h *host) preloadedBy(lib *handshake.Library) []string {
	var names []string
	for _, l := range h.libraries {
		switch {
		case lib == nil:
		case lib.File == "" && l.CompiledIn != "":
			names = append(names, l.CompiledIn)
		case lib.File != "" && l.File == lib.File:
			return []string{lib.Name}
		}
	}
	return names
}
