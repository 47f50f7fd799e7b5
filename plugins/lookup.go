package plugins

import (
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// InternalLibrary is the name of the library behind which the entry points are
// that are part of every host, such as ParallelWorkerMain.
const InternalLibrary = "postgres"

// internalFunctions is the table of entry points that are part of the host
// itself. Mirrors InternalBGWorkers.
func internalFunctions() Functions {
	return Functions{
		parallelMain: parallelWorkerMain,
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
	if library == InternalLibrary {
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
	main := lib.Functions[function]
	if main == nil {
		return entryPoint{}, elog.New(elog.Error, elog.UndefinedFunction, "could not find function \"%s\" in file \"%s\"", function, library)
	}
	e := entryPoint{library: lib, main: main}
	for _, name := range lib.ManualSignals {
		e.manualSignals = e.manualSignals || name == function
	}
	return e, nil
}
