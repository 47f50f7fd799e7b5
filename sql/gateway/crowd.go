package gateway

import (
	"sync"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// crowd is how many clients have a session in which they speak SQL. A smart
// shutdown of the host waits for them, as PostgreSQL's does, which does not wait
// for walsenders either.
type crowd struct {
	mu sync.Mutex // of the number, and of its publication: the last one told is the last one
	n  int
}

// count notes that there is a session more or less, and publishes how many there
// are.
func (g *gateway) count(change int) {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.crowd.n += change
	if change > 0 {
		g.worker.CountSession()
	}
	g.worker.SetSessions(g.crowd.n)
}

// shuttingDown is what a client hears that comes too late. Mirrors CAC_SHUTDOWN.
func shuttingDown() *elog.ErrorData {
	return elog.New(elog.Fatal, elog.CannotConnectNow, "the database system is shutting down")
}
