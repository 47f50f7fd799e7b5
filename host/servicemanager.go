package host

import (
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// serviceManager is whoever has started the host and wants to be told how it is:
// systemd, or what else reads a NOTIFY_SOCKET. Its messages, and their order:
//
//	READY ─► (RELOADING ─► READY)* ─► STOPPING
//	            WATCHDOG, STATUS at any time
//
// The event loop owns it, and decides about each message, pings of the watchdog
// included: a loop that is stuck sends none. A goroutine of its own sends them,
// because a manager that does not read can block a sender. What it can't take the
// loop does without; a manager that is gone is reported once. Without a manager,
// as in its zero value, nothing is ever sent.
type serviceManager struct {
	box  chan string   // nil: there is none
	sent chan struct{} // closed when all that was in box has been sent
	tick *time.Timer   // when to call tend at the latest
	ping time.Duration // how often to ping; 0: the watchdog is off

	pingAt    time.Time // when the next one is due
	statusAt  time.Time // when the status may be said again
	status    string    // as it was said last
	reloading bool      // RELOADING was sent, READY has to follow
	stopping  bool      // STOPPING was sent, no more is to be said of reloads
}

const (
	// statusEvery bounds how often the status is said: each time the manager
	// tells all who listen on its bus.
	statusEvery = time.Second
	// boxSize is how many messages wait while the manager does not read. A reload
	// leaves room for the last one.
	boxSize = 16
	// sendGrace is how long the end of the host waits for a manager to read.
	sendGrace = time.Second
)

// newServiceManager finds out whether there is a manager, and whether it watches.
func newServiceManager(log *elog.Logger) serviceManager {
	watchdog, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		log.Emit(elog.New(elog.Log, elog.InvalidParameterValue, "could not tell how often to notify the service manager: %v", err))
	}
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return serviceManager{}
	}
	s := serviceManager{
		box: make(chan string, boxSize), sent: make(chan struct{}), tick: time.NewTimer(0), ping: watchdog / 2,
	}
	go s.send(log)
	return s
}

// send passes messages on until the box is closed. It runs on a goroutine of its
// own.
func (s *serviceManager) send(log *elog.Logger) {
	defer close(s.sent)
	told := false
	for state := range s.box {
		if _, err := daemon.SdNotify(false, state); err != nil && !told {
			told = true
			log.Emit(elog.New(elog.Log, elog.ConnectionFailure, "could not notify the service manager: %v", err))
		}
	}
}

// post leaves a message for the sender, if there is room.
func (s *serviceManager) post(state string) {
	if s.box == nil {
		return
	}
	select {
	case s.box <- state:
	default:
	}
}

// ready says that the host is initialised, or has reloaded its configuration.
func (s *serviceManager) ready() { s.post(daemon.SdNotifyReady) }

// reload says that the configuration is read again. The caller calls reloaded
// when it has been.
func (s *serviceManager) reload() {
	if s.box == nil || s.stopping || len(s.box) > boxSize-3 {
		return // a manager that has heard of one waits until it is over
	}
	s.reloading = true
	s.post(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonicMicroseconds()))
}

func (s *serviceManager) reloaded() {
	if s.reloading {
		s.reloading = false
		s.ready()
	}
}

// stop says that the host begins to stop, once.
func (s *serviceManager) stop() {
	if !s.stopping {
		s.stopping = true
		s.post(daemon.SdNotifyStopping)
	}
}

// due is readable when tend is to be called though nothing else happens. Without
// a manager it is nil: never.
func (s *serviceManager) due() <-chan time.Time {
	if s.tick == nil {
		return nil
	}
	return s.tick.C
}

// tend pings the watchdog and says the status, where that is due, and sets the
// time of the next call. The loop calls it after each event, too.
func (s *serviceManager) tend(now time.Time, census func() postmaster.Census) {
	if s.box == nil {
		return
	}
	if s.ping > 0 && !now.Before(s.pingAt) && len(s.box) == 0 { // behind others it would come too late to be true
		s.pingAt = now.Add(s.ping)
		s.post(daemon.SdNotifyWatchdog)
	}
	if !now.Before(s.statusAt) && len(s.box) < boxSize/2 {
		if status := describeCensus(census()); status != s.status {
			s.status, s.statusAt = status, now.Add(statusEvery)
			s.post("STATUS=" + status)
		}
	}
	s.tick.Reset(s.untilNext(now))
}

// untilNext returns how long nothing is due.
func (s *serviceManager) untilNext(now time.Time) time.Duration {
	next := time.Hour // as good as never
	if s.ping > 0 {
		next = max(s.pingAt.Sub(now), s.ping/4) // it is overdue where the box is not empty
	}
	if now.Before(s.statusAt) { // what has changed meanwhile is to be said then
		next = min(next, s.statusAt.Sub(now))
	}
	return next
}

// close says what is left to say, and waits for that, but not for long.
func (s *serviceManager) close() {
	if s.box == nil {
		return
	}
	s.tick.Stop()
	close(s.box)
	select {
	case <-s.sent:
	case <-time.After(sendGrace):
	}
}

// describeCensus words the line that "systemctl status" shows.
func describeCensus(c postmaster.Census) string {
	switch {
	case c.Sessions > 0:
		return fmt.Sprintf("Stopping (%s shutdown), waiting for %s of the gateway", c.Stopping, count(c.Sessions, "session", "sessions"))
	case c.Stopping != postmaster.NoShutdown:
		return fmt.Sprintf("Stopping (%s shutdown), waiting for %s", c.Stopping, count(c.Waiting, "process", "processes"))
	case c.Crashed:
		return fmt.Sprintf("A worker has crashed, waiting for %s to end", count(c.Waiting, "process", "processes"))
	}
	workers := fmt.Sprintf("%d of %s running", c.Running, count(c.Registered, "worker", "workers"))
	switch c.Server {
	case shmem.ServerReadWrite:
		return "Server accepts read-write connections, " + workers
	case shmem.ServerStandby:
		return "Server accepts read-only connections, " + workers
	case shmem.ServerStarting:
		return "Server is starting up, " + workers
	default:
		return "Server is not reachable, " + workers
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// monotonicMicroseconds is the time of the clock that MONOTONIC_USEC means.
func monotonicMicroseconds() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it can't fail for this clock
	return now.Nano() / int64(time.Microsecond)
}
