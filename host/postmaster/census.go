package postmaster

import "github.com/pgexthost/pgexthost/shmem"

// Census is what there is to say of a host in one line.
type Census struct {
	Server     shmem.ServerState
	Registered int // workers
	Running    int // workers with a process
	Stopping   ShutdownMode
	Waiting    int // the children that a stop still waits for, auxiliary processes included
	Sessions   int // of the gateway, that a smart shutdown waits for before it stops anybody
	Crashed    bool
}

// Census counts, for a person who wants to know how the host is. It takes as
// long as a look at each worker, and is for the goroutine that calls Step.
func (m *Machine) Census() Census {
	c := Census{Server: m.server.state, Registered: len(m.workers), Stopping: m.shutdown, Sessions: m.sessions(), Crashed: m.fatal}
	for _, w := range m.workers {
		if w.child != nil && w.child.pid != 0 {
			c.Running++
		}
	}
	for child := range m.allChildren {
		if m.waitsFor(child) {
			c.Waiting++
		}
	}
	return c
}
