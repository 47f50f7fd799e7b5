package host

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// newBox is a manager whose messages nobody sends.
func newBox(ping time.Duration) *serviceManager {
	return &serviceManager{box: make(chan string, boxSize), sent: make(chan struct{}), tick: time.NewTimer(time.Hour), ping: ping}
}

// take empties the box.
func (s *serviceManager) take() (messages []string) {
	for len(s.box) > 0 {
		messages = append(messages, <-s.box)
	}
	return messages
}

func running(n int) func() postmaster.Census {
	return func() postmaster.Census { return postmaster.Census{Running: n, Registered: 9} }
}

func TestTheStatusIsSaidOnceASecondAtMostAndOnlyIfItChanges(t *testing.T) {
	s, now := newBox(0), time.Now()
	var said []string
	for i := range 100 { // ten seconds, with a change in each of the first five
		s.tend(now.Add(time.Duration(i)*100*time.Millisecond), running(min(i, 50)))
		said = append(said, s.take()...)
	}
	want := []string{}
	for _, n := range []int{0, 10, 20, 30, 40, 50} {
		want = append(want, fmt.Sprintf("STATUS=Server is not reachable, %d of 9 workers running", n))
	}
	if !slices.Equal(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
}

func TestAnIdleHostWithoutAWatchdogIsNotWokenForItsManager(t *testing.T) {
	s, now := newBox(0), time.Now()
	s.tend(now, running(1))
	if d := s.untilNext(now); d != statusEvery {
		t.Errorf("%v after a change", d)
	}
	if d := s.untilNext(now.Add(statusEvery)); d < time.Hour {
		t.Errorf("%v later on", d)
	}
}

func TestTheWatchdogIsToBeFedTwiceAnInterval(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	t.Setenv("WATCHDOG_USEC", "30000000")
	s := newServiceManager(elog.NewLogger(io.Discard))
	s.close()
	if s.ping != 15*time.Second {
		t.Errorf("every %v", s.ping)
	}
}

func TestTheWatchdogIsFedWhenItIsDue(t *testing.T) {
	s, now := newBox(5*time.Second), time.Now()
	pings := 0
	for i := range 100 {
		s.tend(now.Add(time.Duration(i)*time.Second), running(1))
		for _, message := range s.take() {
			if message == "WATCHDOG=1" {
				pings++
			}
		}
	}
	if pings != 20 {
		t.Errorf("%d pings in 100 seconds", pings)
	}
}

// A manager that comes to read again shall not be told that the host was alive
// long ago, and never of a reload without its end.
func TestAFullBoxHoldsNoStalePingsAndOnlyWholeReloads(t *testing.T) {
	s, now := newBox(time.Second), time.Now()
	s.ready()
	for i := range 3 * boxSize {
		s.reload()
		s.reloaded()
		s.tend(now.Add(time.Duration(i)*time.Second), running(i))
	}
	s.stop()
	s.stop()
	s.reload()
	s.reloaded()
	var names []string
	for _, message := range s.take() {
		name, _, _ := strings.Cut(message, "=")
		if name != "STATUS" {
			names = append(names, name)
		}
	}
	text := strings.ReplaceAll(strings.Join(names, " "), "RELOADING READY ", "")
	if text != "READY STOPPING" {
		t.Errorf("got %q", names)
	}
}

func TestWithoutAServiceManagerNothingHappens(t *testing.T) {
	if os.Getenv("NOTIFY_SOCKET") != "" {
		t.Skip("there is one")
	}
	s := newServiceManager(elog.NewLogger(io.Discard))
	s.ready()
	s.reload()
	s.reloaded()
	s.tend(time.Now(), func() postmaster.Census { t.Error("the workers were counted for nobody"); return postmaster.Census{} })
	s.stop()
	s.close()
	if s.due() != nil {
		t.Error("the loop is woken")
	}
}

func TestTheStatusIsWordedForAPerson(t *testing.T) {
	for want, c := range map[string]postmaster.Census{
		"Server is not reachable, 0 of 0 workers running":               {},
		"Server is starting up, 0 of 1 worker running":                  {Server: shmem.ServerStarting, Registered: 1},
		"Server accepts read-only connections, 1 of 2 workers running":  {Server: shmem.ServerStandby, Registered: 2, Running: 1},
		"Server accepts read-write connections, 2 of 2 workers running": {Server: shmem.ServerReadWrite, Registered: 2, Running: 2},
		"A worker has crashed, waiting for 1 process to end":            {Crashed: true, Waiting: 1, Registered: 2},
		"Stopping (smart shutdown), waiting for 1 session of the gateway": {
			Stopping: postmaster.SmartShutdown, Sessions: 1, Waiting: 2, Registered: 2,
		},
		"Stopping (smart shutdown), waiting for 2 processes":   {Stopping: postmaster.SmartShutdown, Waiting: 2, Registered: 2},
		"Stopping (immediate shutdown), waiting for 1 process": {Stopping: postmaster.ImmediateShutdown, Waiting: 1, Crashed: true},
	} {
		if got := describeCensus(c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
