package plugins

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pgexthost/pgexthost/internal/handshake"
)

// MainFunc is the main function of a worker. Returning nil means exit code 0:
// the worker is done and unregistered. An error is logged with its SQLSTATE and
// means exit code 1: the worker is restarted after its restart interval.
//
// Ctx ends when the worker shall: on SIGTERM, and when the host dies. What main
// returns after a SIGTERM does not matter, unless it has a handler of its own.
type MainFunc func(ctx context.Context, w *Worker) error

// Functions are the entry points of a library, by the name that
// BackgroundWorker.FunctionName gives.
type Functions map[string]MainFunc

// Library is what a shared library is to PostgreSQL: functions that workers
// start in, and an Init that registers workers and settings.
type Library struct {
	// Name is what shared_preload_libraries and BackgroundWorker.LibraryName
	// call it.
	Name string
	// Init is _PG_init, or nil. It runs once in each process that loads the
	// library: in the preload child, where registrations count, and in every
	// worker, where they don't. An error from it stops the process.
	Init func(p *Init) error
	// Functions are the entry points for workers. One that is nil counts as
	// missing.
	Functions Functions
	// ManualSignals names the functions that shall start with signals blocked,
	// and call Worker.UnblockSignals themselves once their handlers are set.
	ManualSignals []string
}

var registry struct {
	sync.RWMutex
	libraries map[string]Library
	auxiliary map[string]MainFunc
	program   string // the library that this program is, if it was given to Main
	magic     string
}

// Register makes a library part of this program, so that it is found by name.
// Call it before Main or RunChild, usually from main or an init function. It
// panics on a library without a name, on the name "postgres", which stands for
// the internal entry points, and on a second library of the same name.
func Register(l Library) {
	registry.Lock()
	defer registry.Unlock()
	_, taken := registry.libraries[l.Name]
	problem := l.misnamed()
	switch {
	case problem != "":
		panic("plugins: " + problem)
	case taken:
		panic(fmt.Sprintf("plugins: library %q is registered twice", l.Name))
	}
	if registry.libraries == nil {
		registry.libraries = make(map[string]Library)
	}
	registry.libraries[l.Name] = l
}

// misnamed says why a library can't have the name it has, or nothing.
func (l Library) misnamed() string {
	switch l.Name {
	case "":
		return "a library needs a name"
	case InternalLibrary:
		return `the library name "postgres" is reserved for internal entry points`
	}
	return ""
}

// functionNames returns the names of the functions that workers can start in.
func (l Library) functionNames() []string {
	names := slices.Sorted(maps.Keys(l.Functions))
	return slices.DeleteFunc(names, func(name string) bool { return l.Functions[name] == nil })
}

// RegisterAuxiliary makes the main function of an auxiliary process known to
// this program: a child that the host needs for itself, without a slot, and
// that nobody can launch by name. SIGHUP leads it to read the settings again, see
// [SignalHandlerForConfigReload]. It panics if there is one of that name.
func RegisterAuxiliary(name string, main MainFunc) {
	registry.Lock()
	defer registry.Unlock()
	if _, taken := registry.auxiliary[name]; taken {
		panic(fmt.Sprintf("plugins: auxiliary process %q is registered twice", name))
	}
	if registry.auxiliary == nil {
		registry.auxiliary = make(map[string]MainFunc)
	}
	registry.auxiliary[name] = main
}

// Auxiliaries returns the names of the auxiliary processes this program has.
func Auxiliaries() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.auxiliary))
}

// Libraries returns the names of the libraries that are part of this program.
func Libraries() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.libraries))
}

// programLibrary returns the library that this program is.
func programLibrary() (Library, bool) {
	registry.RLock()
	defer registry.RUnlock()
	l, ok := registry.libraries[registry.program]
	return l, ok
}

func registeredLibrary(name string) (Library, bool) {
	registry.RLock()
	defer registry.RUnlock()
	l, ok := registry.libraries[name]
	return l, ok
}

func registeredAuxiliary(name string) (MainFunc, bool) {
	registry.RLock()
	defer registry.RUnlock()
	main, ok := registry.auxiliary[name]
	return main, ok
}

// ABIVersion is the version of what this package promises to libraries that
// are programs of their own. Mirrors the magic block.
const ABIVersion = handshake.ABIVersion
