package plugins

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// ParallelExtra packs what ParallelWorkerMain needs into a worker's Extra: the
// worker's number within its group, and the library and function to run, which
// together must fit 122 bytes. It is the counterpart of CreateParallelContext's
// arguments, for registrations with LibraryName "postgres" and FunctionName
// "ParallelWorkerMain".
func ParallelExtra(number int32, library, function string) (extra [BGWExtraLen]byte, err error) {
	if len(library)+len(function)+6 > BGWExtraLen {
		return extra, elog.New(elog.Error, elog.ProgramLimitExceeded, "names of parallel entry point are too long").
			WithDetail("Library \"%s\" and function \"%s\" have more than %d bytes together.", library, function, BGWExtraLen-6)
	}
	binary.LittleEndian.PutUint32(extra[:], uint32(number))
	n := 4 + copy(extra[4:], library) + 1
	copy(extra[n:], function)
	return extra, nil
}

// ParallelWorkerNumber returns the number ParallelExtra was given.
func ParallelWorkerNumber(w BackgroundWorker) int32 {
	return int32(binary.LittleEndian.Uint32(w.Extra[:]))
}

// parallelEntryPoint returns the names ParallelExtra was given.
func parallelEntryPoint(w BackgroundWorker) (library, function string) {
	first, rest, _ := bytes.Cut(w.Extra[4:], []byte{0})
	second, _, _ := bytes.Cut(rest, []byte{0})
	return string(first), string(second)
}

// EntryLibrary returns the name of the library that has the worker's main
// function: LibraryName, except for parallel workers, which name the internal
// library "postgres" there and theirs in Extra.
func (w *BackgroundWorker) EntryLibrary() string {
	if w.LibraryName != InternalLibrary || w.FunctionName != parallelMain {
		return w.LibraryName
	}
	library, _ := parallelEntryPoint(*w)
	return library
}

// parallelMain is the name of the entry point of parallel workers.
const parallelMain = "ParallelWorkerMain"

// parallelWorkerMain is the internal entry point of parallel workers: it looks
// up the real one, by the names that Extra holds, and runs it. Mirrors
// ParallelWorkerMain, whose names come from a shared memory segment instead.
func parallelWorkerMain(ctx context.Context, w *Worker) error {
	entry, err := w.loader.lookupFunction(parallelEntryPoint(w.entry))
	if err != nil {
		return err
	}
	return entry.main(ctx, w)
}
