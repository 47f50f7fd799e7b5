package servermonitor

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

var (
	started = time.UnixMicro(1_700_000_000_123_456)
	primary = facts{Started: started, Version: "15.18", Where: `on socket "/tmp/.s.PGSQL.5432"`}
	standby = facts{InRecovery: true, Started: started, Version: "15.18"}

	errGone     = elog.New(elog.Fatal, elog.SQLClientUnableToConnect, "could not connect to server: connection refused").WithHint("Is it running?")
	errStarting = elog.New(elog.Fatal, elog.CannotConnectNow, "the database system is starting up")
	errFull     = elog.New(elog.Fatal, elog.TooManyConnections, "sorry, too many clients already")
	errPassword = elog.New(elog.Fatal, elog.InvalidPassword, "password authentication failed for user \"u\"")
	errLost     = elog.New(elog.Error, elog.AdminShutdown, "terminating connection due to administrator command")
)

func newMachine() *machine { return &machine{jitter: func() float64 { return 0 }} }

// said returns the text of a step's log line, or "".
func said(s step) string {
	if s.report == nil {
		return ""
	}
	return s.report.Message
}

func TestNewsSayWhere(t *testing.T) {
	for _, tt := range []struct {
		f    failure
		want string
	}{
		{failure{reason: "no such file", detail: "Connection on socket failed: no such file."}, "Connection on socket failed: no such file."},
		{failure{reason: "no such role", detail: "Ask somebody."}, "no such role"},
		{failure{reason: "no such role"}, "no such role"},
	} {
		if got := tt.f.news(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestStatesFollowWhatIsFound(t *testing.T) {
	m := newMachine()
	for i, tt := range []struct {
		step    step
		state   shmem.ServerState
		publish bool
		pause   time.Duration
		message string
	}{
		{m.failed(errGone), shmem.ServerUnreachable, true, 100 * time.Millisecond, "waiting for the server: connection refused"},
		{m.failed(errGone), shmem.ServerUnreachable, false, 200 * time.Millisecond, ""},
		{m.failed(errStarting), shmem.ServerStarting, true, 250 * time.Millisecond, ""},
		{m.failed(errStarting), shmem.ServerStarting, false, 250 * time.Millisecond, ""},
		{m.found(standby), shmem.ServerStandby, true, time.Second, "server is accepting read-only connections"},
		{m.found(standby), shmem.ServerStandby, false, time.Second, ""},
		{m.found(primary), shmem.ServerReadWrite, true, 10 * time.Second, "server is accepting read-write connections"},
		{m.found(primary), shmem.ServerReadWrite, false, 10 * time.Second, ""},
		{m.failed(errLost), shmem.ServerUnreachable, true, 0, "lost connection to the server: terminating connection due to administrator command"},
		{m.failed(errGone), shmem.ServerUnreachable, false, 100 * time.Millisecond, "waiting for the server: connection refused"},
		{m.failed(errFull), shmem.ServerUnreachable, false, 200 * time.Millisecond, "waiting for the server: sorry, too many clients already"},
		{m.failed(errGone), shmem.ServerUnreachable, false, 400 * time.Millisecond, ""},
		{m.failed(errPassword), shmem.ServerUnreachable, false, time.Second, `cannot connect to the server: password authentication failed for user "u"`},
		{m.found(primary), shmem.ServerReadWrite, true, 10 * time.Second, "server is accepting read-write connections"},
	} {
		if tt.step.state != tt.state || tt.step.publish != tt.publish || tt.step.pause != tt.pause || said(tt.step) != tt.message {
			t.Errorf("step %d: got %v, publish %v, pause %v, %q", i, tt.step.state, tt.step.publish, tt.step.pause, said(tt.step))
		}
		if known := tt.state >= shmem.ServerStandby; tt.step.started.IsZero() == known {
			t.Errorf("step %d: got start time %v", i, tt.step.started)
		}
	}
}

func TestServerFoundAtFirstIsPublished(t *testing.T) {
	if s := newMachine().found(primary); !s.publish || said(s) == "" {
		t.Errorf("got %+v", s)
	}
}

func TestNewStartTimeIsPublished(t *testing.T) {
	m := newMachine()
	m.found(primary)
	later := primary
	later.Started = started.Add(time.Microsecond)
	if s := m.found(later); !s.publish || !s.started.Equal(later.Started) {
		t.Errorf("got %+v", s)
	}
}

func TestPausesGrowToALimit(t *testing.T) {
	for name, tt := range map[string]struct {
		err            error
		first, longest time.Duration
	}{
		"away":        {errGone, 100 * time.Millisecond, 5 * time.Second},
		"full":        {errFull, 100 * time.Millisecond, 5 * time.Second},
		"refused":     {errPassword, time.Second, 30 * time.Second},
		"starting":    {errStarting, 250 * time.Millisecond, 2 * time.Second},
		"own error":   {errors.New("x"), time.Second, 30 * time.Second},
		"no conninfo": {elog.New(elog.Error, elog.InvalidParameterValue, "invalid connection string"), time.Second, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			last := m.failed(tt.err).pause
			if last != tt.first {
				t.Errorf("first: got %v", last)
			}
			for range 100 {
				next := m.failed(tt.err).pause
				if next < last || next > 2*last {
					t.Fatalf("got %v after %v", next, last)
				}
				last = next
			}
			if last != tt.longest {
				t.Errorf("last: got %v", last)
			}
			m.jitter = func() float64 { return 0.999 }
			if got := m.failed(tt.err).pause; got < tt.longest || got > tt.longest*5/4 {
				t.Errorf("with jitter: got %v", got)
			}
		})
	}
}

func TestSessionThatIsLostAgainAndAgainIsReopenedSlowly(t *testing.T) {
	m := newMachine()
	var pause time.Duration
	for range 20 {
		m.found(primary)
		pause = m.failed(errLost).pause
	}
	if pause != longestPause {
		t.Errorf("got %v", pause)
	}
	m.found(primary)
	m.found(primary)
	if got := m.failed(errLost).pause; got != 0 {
		t.Errorf("after a stable session: got %v", got)
	}
}

func TestReasonsAreLoggedOnceAnOutageAndNotWithoutEnd(t *testing.T) {
	m := newMachine()
	count := 0
	for i := range 1000 {
		if m.failed(fmt.Errorf("reason %d", i)).report != nil {
			count++
		}
	}
	if count != mostReasons {
		t.Errorf("got %d lines", count)
	}
	m.found(primary)
	m.found(primary)
	m.failed(errLost)
	if said(m.failed(errors.New("reason 1"))) == "" {
		t.Error("a new outage did not give its reason")
	}
}

func TestHostThatStartsBeforeItsServerSaysOnceThatItWaits(t *testing.T) {
	m, lines := newMachine(), 0
	for _, cause := range []error{syscall.ENOENT, syscall.ECONNREFUSED, io.EOF, syscall.ENOENT} {
		gone := elog.New(elog.Fatal, elog.SQLClientUnableToConnect, "could not connect to server: %v", cause).WithCause(cause)
		if m.failed(gone).report != nil {
			lines++
		}
	}
	for range startingPatience - 1 {
		if m.failed(errStarting).report != nil {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("got %d lines", lines)
	}
	if got := said(m.failed(errStarting)); got != "waiting for the server: the database system is starting up" {
		t.Errorf("a long start: got %q", got)
	}
	if got := said(m.failed(errStarting)); got != "" {
		t.Errorf("a longer start: got %q", got)
	}
	if got := said(newMachine().failed(errStarting)); got != "waiting for the server: the database system is starting up" {
		t.Errorf("nothing said yet: got %q", got)
	}
}

// What a server says while it stops is not what it says while it starts.
func TestALongStartAfterAStopIsNews(t *testing.T) {
	m := newMachine()
	m.found(primary)
	m.found(primary)
	var lines []string
	for _, err := range append([]error{errLost, errStopping, errStopping, errGone}, slices.Repeat([]error{errStarting}, 3*startingPatience)...) {
		if line := said(m.failed(err)); line != "" {
			lines = append(lines, line)
		}
	}
	want := []string{
		"lost connection to the server: terminating connection due to administrator command",
		"waiting for the server: the database system is shutting down",
		"waiting for the server: connection refused",
		"waiting for the server: the database system is starting up",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q", lines)
	}
}

func TestTheReasonOfALossIsNotGivenTwice(t *testing.T) {
	m := newMachine()
	m.found(primary)
	m.found(primary)
	if got := said(m.failed(errStopping)); got != "lost connection to the server: the database system is shutting down" {
		t.Errorf("got %q", got)
	}
	for range 3 * startingPatience {
		if got := said(m.failed(errStopping)); got != "" {
			t.Fatalf("got %q", got)
		}
	}
	if said(m.failed(errGone)) == "" {
		t.Error("another reason was not given")
	}
}

// The pauses say how many logins a server has to refuse in an hour.
func TestAnIllServerIsNotAskedTooOften(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		most int
	}{
		"away": {errGone, 730}, "starting": {errStarting, 1870}, "refused": {errPassword, 125},
	} {
		m, looks := newMachine(), 0
		for spent := time.Duration(0); spent < time.Hour; looks++ {
			spent += m.failed(tt.err).pause
		}
		if looks > tt.most {
			t.Errorf("%s: got %d looks", name, looks)
		}
	}
}

func TestNewSettingsAreTriedAtOnceAndReported(t *testing.T) {
	m := newMachine()
	m.found(primary)
	m.reconfigured()
	if s := m.found(primary); s.publish || said(s) != "server is accepting read-write connections" {
		t.Errorf("the same server: got %+v", s)
	}
	m.reconfigured()
	if s := m.failed(errGone); !s.publish || said(s) != "waiting for the server: connection refused" {
		t.Errorf("no server: got %+v", s)
	}
}

func TestLogLinesHaveDetailAndHint(t *testing.T) {
	m := newMachine()
	if e := m.failed(errGone).report; e.Level != elog.Log || e.Hint != "Is it running?" {
		t.Errorf("got %+v", e)
	}
	if e := m.found(primary).report; e.Level != elog.Log || e.Detail != `Connected to PostgreSQL 15.18 on socket "/tmp/.s.PGSQL.5432".` {
		t.Errorf("got %+v", e)
	}
}
