package launcher

import "github.com/pgexthost/pgexthost/plugins"

// plan compares the databases that are to have a worker with the workers that
// are registered, in any state, and returns what is to change.
func plan(wanted []database, workers []plugins.WorkerInfo) (start []database, stop []plugins.WorkerInfo) {
	names := make(map[uint32]string, len(wanted))
	for _, d := range wanted {
		names[d.oid] = d.name
	}
	taken := make(map[uint32]bool) // by a worker, even by one that is about to end
	kept := make(map[uint32]bool)
	for _, w := range workers {
		if w.Entry.LibraryName != LibraryName || w.Entry.FunctionName != workerFunction {
			continue
		}
		oid := uint32(w.Entry.MainArg)
		taken[oid] = true
		if w.Terminated {
			continue
		}
		name, isWanted := names[oid]
		if !isWanted || kept[oid] || name != plugins.ExtraText(w.Entry) {
			stop = append(stop, w)
			continue
		}
		kept[oid] = true
	}
	for _, d := range wanted {
		if !taken[d.oid] {
			start = append(start, d)
		}
	}
	return start, stop
}
