//go:build linux

package integration

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/fakeserver"
	"github.com/pgexthost/pgexthost/plugins"
)

// Whole hosts against a scripted server.

// fakeConninfo is for one whose silence shall not last.
func fakeConninfo(fake *fakeserver.Server) string { return fake.Conninfo() + " connect_timeout=1" }

// look makes the monitor look at the server now.
func (h *testHost) look() {
	h.t.Helper()
	if err := unix.Kill(h.workerPid("server monitor"), unix.SIGUSR1); err != nil {
		h.t.Fatal(err)
	}
}

// sessionWorker has a session with the server, and keeps it busy.
func sessionWorker(name string) plugins.BackgroundWorker {
	w := dbWorker("sleep_query", "")
	w.Name = name
	return w
}

// endSessions ends the monitor's session, or those of the workers, as a server
// does that stops.
func endSessions(fake *fakeserver.Server, monitors bool, sqlstate, message string) {
	for _, c := range fake.Clients() {
		if (c.Params["application_name"] == monitorsName) == monitors {
			c.Fatal(sqlstate, message)
		}
	}
}

// SPEC §5 from end to end: each state of the server, what the operator reads
// about it, and who starts when.
func TestTheHostFollowsAServerThroughAllItsStates(t *testing.T) {
	t.Parallel()
	fake := fakeserver.Start(t, fakeserver.Oddities["starting"])
	server := fakeserver.NewPostgres(true)
	h := startHost(t, withServer(fakeConninfo(fake)), withWorkers(
		sessionWorker("with a session"),
		plugins.BackgroundWorker{Name: "at recovery finished", FunctionName: "wait", StartTime: plugins.StartAtRecoveryFinished},
		plugins.BackgroundWorker{Name: "at consistent state", FunctionName: "wait", StartTime: plugins.StartAtConsistentState},
		plugins.BackgroundWorker{Name: "at postmaster start", FunctionName: "wait"},
	))
	started := func(name string, want int) {
		t.Helper()
		if n := h.count(`starting background worker process "` + name + `"$`); n != want {
			t.Fatalf("the worker %s was started %d times, want %d", name, n, want)
		}
	}
	nobody := func() {
		t.Helper()
		started("at consistent state", 0)
		started("at recovery finished", 0)
		started("with a session", 0)
	}
	said := []string{`waiting for the server: the database system is starting up`}
	says := func(line string) {
		t.Helper()
		said = append(said, line)
		h.waitLog(`LOG:  ` + line + `$`)
	}
	h.waitLog(`LOG:  at postmaster start waits$`)
	h.waitLog(`LOG:  ` + said[0] + `$`)

	fake.Play(fakeserver.Oddities["HTTP"])
	h.look()
	says(`cannot connect to the server: received invalid response from the server`)
	nobody()
	fake.Play(fakeserver.Oddities["hangs"])
	h.look()
	says(`waiting for the server: timeout expired`)
	nobody()

	fake.Play(server.Serve)
	h.look()
	says(`server is accepting read-only connections`)
	h.waitLog(`LOG:  at consistent state waits$`)
	started("at recovery finished", 0)
	started("with a session", 0)
	server.Promote()
	says(`server is accepting read-write connections`)
	h.waitLog(`LOG:  at recovery finished waits$`)
	h.waitLog(`LOG:  with a session sleeps in the server$`)

	fake.Play(fakeserver.Oddities["shutting down"])
	endSessions(fake, true, "57P01", "terminating connection due to administrator command")
	says(`lost connection to the server: terminating connection due to administrator command`)
	says(`waiting for the server: the database system is shutting down`)
	endSessions(fake, false, "57P01", "terminating connection due to administrator command")
	h.waitLog(`LOG:  background worker "kind" \(PID \d+\) exited with exit code 1$`)
	fake.Close()
	// Which of these it is depends on the moment.
	says(`waiting for the server: (No such file or directory|Connection refused|server closed the connection unexpectedly)`)
	started("with a session", 1)

	server.Restart(false)
	fake.Play(server.Serve)
	if err := fake.Listen(); err != nil {
		t.Fatal(err)
	}
	h.waitLogCount(`LOG:  with a session sleeps in the server$`, 2)
	h.waitLogCount(`LOG:  server is accepting read-write connections$`, 2)
	started("with a session", 2)
	// Workers are never stopped because of a state change.
	for _, name := range []string{"at postmaster start", "at consistent state", "at recovery finished"} {
		started(name, 1)
		h.workerPid(name)
	}
	h.stop()
	for _, line := range said {
		want := 1
		if strings.HasSuffix(line, "read-write connections") {
			want = 2
		}
		if n := h.count(`LOG:  ` + line + `$`); n != want {
			t.Errorf("%q was logged %d times, want %d", line, n, want)
		}
	}
	if n := h.count(`LOG:  (waiting for|cannot connect to|lost connection to|server is)`); n != len(said)+1 {
		t.Errorf("%d lines about the server", n)
	}
}

// In a shutdown, or after a crash, the server ends one session after the other.
// The monitor's may be the last, and answer until then: a worker that came first
// has lost its server nevertheless.
func TestASessionThatEndsBeforeTheMonitorsHasLostTheServer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ sqlstate, says string }{
		"shutdown": {"57P01", "the database system is shutting down"},
		"crash":    {"57P02", "the database system is in recovery mode"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := fakeserver.NewPostgres(false)
			fake := fakeserver.Start(t, server.Serve)
			slow := sessionWorker("slow")
			slow.RestartTime = 3600
			h := startHost(t, withServer(fake.Conninfo()), withWorkers(sessionWorker("once"), slow))
			h.waitLog(`LOG:  once sleeps in the server$`)
			h.waitLog(`LOG:  slow sleeps in the server$`)
			fake.Play(fakeserver.Refuse("57P03", tt.says))
			endSessions(fake, false, tt.sqlstate, "terminating connection")
			h.waitLog(`LOG:  lost connection to the server: ` + tt.says + `$`)
			h.waitLogCount(`LOG:  background worker "kind" \(PID \d+\) exited with exit code 1$`, 2)
			server.Restart(false)
			fake.Play(server.Serve)
			h.waitLogCount(`LOG:  once sleeps in the server$`, 2)
			h.waitLogCount(`LOG:  slow sleeps in the server$`, 2)
			h.stop()
			if n := h.count(tt.says); n != 1 {
				t.Errorf("the reason was given %d times", n)
			}
		})
	}
}

// A fast shutdown is fast in each state of the server. The monitor is not
// killed for being deaf, which would be exit code 1: it ends.
func TestAFastShutdownIsFastWhateverTheServerDoes(t *testing.T) {
	t.Parallel()
	healthy := fakeserver.NewPostgres(false)
	scenes := map[string]struct {
		script fakeserver.Script
		early  bool   // the script does not wait for the start-up message
		params string // added to the conninfo
	}{
		"healthy":                       {script: healthy.Serve},
		"hangs before the start-up":     {script: (*fakeserver.Client).Hang, early: true, params: " sslmode=disable"},
		"hangs at the request for TLS":  {script: (*fakeserver.Client).Hang, early: true, params: " sslmode=require"},
		"hangs within the TLS greeting": {script: fakeserver.Raw("S\x16\x03\x03"), early: true, params: " sslmode=require"},
		"hangs in the check of target_session_attrs": {
			script: func(c *fakeserver.Client) { c.Welcome(); c.Hang() }, params: " target_session_attrs=primary",
		},
		"lets the monitor in and not the workers": {script: func(c *fakeserver.Client) {
			if strings.Contains(c.Params["application_name"], "monitor") {
				healthy.Serve(c)
				return
			}
			c.Hang()
		}},
	}
	for _, name := range []string{
		"starting", "full", "wrong password", "hangs", "hangs in authentication", "hangs after the login", "hangs at the question",
		"hangs in the answer", "closes", "closes in the answer", "resets", "HTTP", "a huge length in it", "endless notices", "endless rows",
	} {
		scene := scenes[name]
		scene.script = fakeserver.Oddities[name]
		scenes[name] = scene
	}
	// So many hosts at once have little of a small machine each.
	turns := make(chan struct{}, 4)
	for name, scene := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			reached := make(chan struct{}, 1000)
			fake := fakeserver.StartTCP(t, nil)
			play := func(c *fakeserver.Client) { reached <- struct{}{}; scene.script(c) }
			if fake.Play(play); scene.early {
				fake.PlayAtOnce(play)
			}
			h := startHost(t, withServer(fake.Conninfo()+scene.params), withWorkers(
				sessionWorker("with a session"),
				plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"},
			))
			h.waitLog(`LOG:  bystander waits$`)
			for range map[bool]int{false: 1, true: 2}[name == "healthy" || strings.HasPrefix(name, "lets")] { // the worker comes second
				<-reached
			}
			begin := time.Now()
			h.stop()
			if took := time.Since(begin); took > fast {
				t.Errorf("it took %v", took)
			}
			if n := h.count(`DEBUG:  server monitor process \(PID \d+\) exited with exit code 0$`); n != 1 {
				t.Error("the monitor did not end by itself")
			}
			if n := h.count(`was terminated by signal`); n != 0 {
				t.Errorf("%d processes were killed", n)
			}
		})
	}
}

// fast is less than the 5 seconds after which a deaf process is ended.
const fast = 4 * time.Second

func TestAServerThatIsGoneDoesNotDelayTheShutdown(t *testing.T) {
	t.Parallel()
	gone := fakeserver.StartTCP(t, nil)
	gone.Close()
	for name, conninfo := range map[string]string{
		"refused":    gone.Conninfo(),
		"no name":    "host=no.such.host.invalid user=tester",
		"no route":   "host=192.0.2.1 user=tester", // TEST-NET-1: nobody answers
		"no socket":  "host=/nonexistent user=tester",
		"two hosts":  "host=192.0.2.1,/nonexistent user=tester",
		"no sense":   "host=",
		"not parsed": "this is no conninfo",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHost(t, withServer(conninfo), withWorkers(plugins.BackgroundWorker{Name: "bystander", FunctionName: "wait"}))
			h.waitLog(`LOG:  bystander waits$`)
			h.eventually("the monitor to handle signals", func() bool {
				return h.processSignals(h.workerPid("server monitor"), "SigCgt")&(1<<(unix.SIGHUP-1)) != 0
			})
			begin := time.Now()
			h.stop()
			if took := time.Since(begin); took > fast {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestAFloodDoesNotFillTheMonitorsMemory(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a huge length in it", "endless notices", "endless rows", "endless parameters"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := fakeserver.Start(t, fakeserver.Oddities[name])
			h := startHost(t, withServer(fake.Conninfo()))
			h.waitLog(`LOG:  cannot connect to the server: `)
			for range 10 {
				seen := fake.Connections()
				h.look()
				h.eventually("the next look", func() bool { return fake.Connections() > seen })
			}
			const most = 256 << 10 // the race detector has its share
			if peak := peakMemory(t, h.workerPid("server monitor")); peak > most {
				t.Errorf("the monitor took %d KiB", peak)
			}
			h.stop()
			if n := h.count(`LOG:  cannot connect to the server`); n != 1 {
				t.Errorf("%d lines about it", n)
			}
		})
	}
}

// peakMemory returns what a process had in memory at most, in KiB.
func peakMemory(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// visits are the times at which sessions of a name were asked for.
type visits struct {
	mu sync.Mutex
	at map[string][]time.Time
}

func (v *visits) note(c *fakeserver.Client) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.at == nil {
		v.at = make(map[string][]time.Time)
	}
	name := c.Params["application_name"]
	v.at[name] = append(v.at[name], time.Now())
}

func (v *visits) of(name string) []time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at[name]
}

const monitorsName = "pgexthost server monitor"

func TestAnIllServerIsNotStormed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		visits int
		least  time.Duration
	}{
		"closes":         {5, 1500 * time.Millisecond}, // 0.1 + 0.2 + 0.4 + 0.8
		"zeros":          {3, 3 * time.Second},         // 1 + 2
		"wrong password": {3, 3 * time.Second},
		"starting":       {5, time.Second}, // 4 · 0.25
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var v visits
			fake := fakeserver.Start(t, func(c *fakeserver.Client) { v.note(c); fakeserver.Oddities[name](c) })
			h := startHost(t, withServer(fake.Conninfo()), withWorkers(sessionWorker("one"), sessionWorker("two")))
			h.eventually("the attempts", func() bool { return len(v.of(monitorsName)) >= tt.visits })
			at := v.of(monitorsName)
			if took := at[tt.visits-1].Sub(at[0]); took < tt.least {
				t.Errorf("%d attempts within %v", tt.visits, took)
			}
			h.stop()
			if made := fake.Accepted(); made != len(v.of(monitorsName)) {
				t.Errorf("%d connections for %d attempts", made, len(v.of(monitorsName)))
			}
		})
	}
}

// A worker that loses its session again and again, while the server is there,
// comes back more and more slowly, and does not take the monitor with it.
func TestAWorkerThatKeepsLosingItsSessionIsNoStorm(t *testing.T) {
	t.Parallel()
	var v visits
	server := fakeserver.NewPostgres(false)
	fake := fakeserver.Start(t, func(c *fakeserver.Client) {
		v.note(c)
		if c.Params["application_name"] == monitorsName {
			server.Serve(c)
			return
		}
		fakeserver.Oddities["closes at the question"](c)
	})
	unlucky := sessionWorker("unlucky")
	unlucky.RestartTime = 0
	h := startHost(t, withServer(fake.Conninfo()), withWorkers(unlucky))
	h.eventually("four starts", func() bool { return len(v.of("unlucky")) >= 4 })
	at := v.of("unlucky")
	if took := at[3].Sub(at[0]); took < 3*time.Second { // 0 + 1 + 2
		t.Errorf("four starts within %v", took)
	}
	h.stop()
	if n, losses := len(v.of(monitorsName)), len(v.of("unlucky")); n > 1+losses {
		t.Errorf("the monitor had %d sessions for %d losses", n, losses)
	}
	if n := h.count(`LOG:  lost connection to the server`); n != 0 {
		t.Errorf("the monitor lost its session %d times", n)
	}
}
