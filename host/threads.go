package host

import (
	"os"
	"runtime"
	"sync"
)

// maxProcs is on how many processors at once the host runs Go code, unless
// GOMAXPROCS says otherwise: it is one event loop with little beside it.
const maxProcs = 4

// spareThreads is how many of the host's threads may be inside the kernel at
// the same time: the spawner in an exec, the log's writer at a disk, the event
// loop at a file, and some for the moments in which many children come or go.
const spareThreads = 28

// startThreads makes the runtime start all operating system threads that the
// host will need. The runtime starts threads when it comes to need them, never
// gives up an idle one, and ends the program if there can't be one more; where
// processes run out (RLIMIT_NPROC, pids.max) that would be the end of the host
// and of all its workers, just when it should wait for things to get better.
// Where there are not even these, the host ends before it has begun.
func startThreads() {
	procs := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" && procs > maxProcs {
		procs = maxProcs
		runtime.GOMAXPROCS(procs)
	}
	var here, gone sync.WaitGroup
	release := make(chan struct{})
	for range procs + spareThreads {
		here.Add(1)
		gone.Go(func() {
			runtime.LockOSThread() // while it is held, the next one needs another thread
			defer runtime.UnlockOSThread()
			here.Done()
			<-release
		})
	}
	here.Wait()
	close(release)
	gone.Wait()
}
