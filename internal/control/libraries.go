package control

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// LibrariesFileName is the file in a data directory in which a running host keeps
// what it knows of libraries, for "plugin list" and for those who have asked for a
// reload.
const LibrariesFileName = "libraries_exec_params"

// Libraries is what a host knows of libraries.
type Libraries struct {
	Search     string            // dynamic_library_path
	Libdir     string            // what $libdir stands for
	CompiledIn []string          // the libraries that are part of the host
	Preloaded  []Library         // those of shared_preload_libraries
	Reload     *Reload           // the last one, or nil
	Announced  []AnnouncedWorker // the static workers that came with reloads and are not registered yet
}

// Library is one of shared_preload_libraries.
type Library struct {
	Name      string // in the list
	Build     Build
	Identity  library.Identity // of its file, when Init ran
	LoadedAt  time.Time        // zero: it is not loaded
	LeftOut   *elog.ErrorData  // why it is not, if so
	Functions []string         // that workers can start in
	Workers   []string         // names of its static workers
	Settings  []string         // names of what it defines
}

// Build says which program a library is.
type Build struct {
	File       string `json:"file"`        // the executable, or empty
	CompiledIn string `json:"compiled_in"` // its name within the host, or empty
	Version    string `json:"version"`     // of the executable's module, or empty
	Revision   string `json:"revision"`    // of its version control system, or empty
}

// String names the program as messages do: "/opt/lib/retention (v1.3.0)".
func (b Build) String() string {
	switch {
	case b.CompiledIn != "":
		return "the host itself"
	case b.Version == "" || b.Version == NoVersion:
		return b.File
	}
	return b.File + " (" + b.Version + ")"
}

// NoVersion is what the go command calls the version of a program whose sources
// have none.
const NoVersion = "(devel)"

// BuildOf describes an executable.
func BuildOf(file string, p *library.Program) Build {
	b := Build{File: file}
	if p != nil {
		b.Version, b.Revision = p.Version, p.Revision
		if b.Version == "(devel)" { // as the go command calls what it knows nothing of
			b.Version = ""
		}
	}
	return b
}

// Reload is the postmaster's answer to a request to load a library again.
type Reload struct {
	ID        uint64          // of the request
	Error     *elog.ErrorData // why nothing has changed, or nil
	Preloaded bool            // its Init counts: it is in shared_preload_libraries
	Was       *Build          // what it was before, or nil
	Is        Build
	Workers   []ReloadedWorker
	Refused   []RefusedWorker
	Settings  []guc.Change
	Reports   []*elog.ErrorData // warnings
}

// ReloadedWorker is what the core has told of a worker.
type ReloadedWorker struct {
	Worker     shmem.Descriptor
	Slot       int
	Generation uint64
	Announced  uint64 // the number of its announcement, if it is new
	Pid        int
	Started    time.Time
	Fate       postmaster.ReloadFate
	Changed    bool
}

// RefusedWorker is a registration that was refused, and why.
type RefusedWorker struct{ Name, Message string }

// ReadLibraries returns what the host of a data directory knows of libraries. The
// error, an *elog.ErrorData, says that it could not be read.
func ReadLibraries(dataDir string) (*Libraries, error) {
	path := filepath.Join(dataDir, LibrariesFileName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, elog.New(elog.Error, elog.FileAccessCode(err), "could not read file \"%s\": %s", path, elog.OSReason(err)).WithCause(err)
	}
	var l Libraries
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, elog.New(elog.Error, elog.InternalError, "invalid data in file \"%s\": %v", path, err).WithCause(err)
	}
	return &l, nil
}
