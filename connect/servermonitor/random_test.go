package servermonitor

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/fakeserver"
	"github.com/pgexthost/pgexthost/shmem"
)

// A server that is ill in one way after the other, healthy now and then: the
// monitor always comes to publish what is, says little, and ends when told to.
func TestTheMonitorSurvivesAnySequenceOfServers(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run("", func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %#x", seed)
			newRandomServer(t, rand.New(rand.NewPCG(seed, 0))).run(12)
		})
	}
}

type randomServer struct {
	t       *testing.T
	rand    *rand.Rand
	fake    *fakeserver.Server
	server  *fakeserver.Postgres
	process *fakeProcess
	stop    func() error
	names   []string // of oddities
	reports int
}

func newRandomServer(t *testing.T, r *rand.Rand) *randomServer {
	s := &randomServer{t: t, rand: r, server: fakeserver.NewPostgres(true)}
	s.fake = fakeserver.Start(t, s.server.Serve)
	s.process = newProcess(s.fake.Conninfo())
	s.stop = start(t, s.process, prober{limit: 5 * shortly})
	for name := range fakeserver.Oddities {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names) // the seed alone decides
	return s
}

func (s *randomServer) run(steps int) {
	for range steps {
		name, state := s.change()
		s.awaitState(name, state)
	}
	s.change()
	begin := time.Now()
	if err := s.stop(); !errors.Is(err, context.Canceled) {
		s.t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 2*goodbyeLimit {
		s.t.Errorf("the end took %v", took)
	}
	// Lost, why, and back.
	if n := s.reports + len(s.process.reports); n > 3*(steps+1) {
		s.t.Errorf("%d lines in %d steps", n, steps)
	}
}

// change makes another server of it, and returns what it is now.
func (s *randomServer) change() (name string, state shmem.ServerState) {
	switch s.rand.IntN(5) {
	case 0:
		name, state = "standby", shmem.ServerStandby
		s.server.Restart(true)
		s.fake.Play(s.server.Serve)
	case 1:
		name, state = "promoted", shmem.ServerReadWrite
		s.server.Promote()
		s.fake.Play(s.server.Serve)
		return name, state // the session goes on, if there is one
	case 2:
		name, state = "gone and back", shmem.ServerReadWrite
		s.fake.Close()
		s.server.Restart(false)
		s.fake.Play(s.server.Serve)
		check(s.t, s.fake.Listen())
	default:
		name = s.names[s.rand.IntN(len(s.names))]
		state = oddServers[name].state
		s.fake.Play(fakeserver.Oddities[name])
	}
	s.fake.Disconnect()
	return name, state
}

// awaitState waits for a state and makes sure that it stays.
func (s *randomServer) awaitState(name string, want shmem.ServerState) {
	s.t.Helper()
	deadline := time.After(patience)
	for seen := 0; seen < 2; {
		s.process.SetLatch() // do not wait for the end of the pause
		select {
		case got := <-s.process.published:
			switch {
			case got.state == want:
				seen++
			case seen > 0:
				s.t.Fatalf("%s: got state %v after %v", name, got.state, want)
			}
		case <-s.process.reports:
			s.reports++
		case <-deadline:
			s.t.Fatalf("%s: state %v was not published", name, want)
		}
	}
}
