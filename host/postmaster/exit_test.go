package postmaster_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func unready(ev postmaster.Exited) postmaster.Exited { ev.Ready = false; return ev }

func running(activity string, ev postmaster.Exited) postmaster.Exited {
	ev.Activity = activity
	return ev
}

// SPEC 6: what each exit does and says, and in which order. A crash counts as
// exit 1 until there is a crash cycle.
func TestSpec6Exits(t *testing.T) {
	const (
		gone    = "slot 0: pid 0"
		release = "release slot 0"
		forgot  = `DEBUG1: unregistering background worker "w"`
		told    = "notify 101"
		said    = `LOG: background worker "w type" (PID 102) `
	)
	exit0 := `DEBUG1: background worker "w type" (PID 102) exited with exit code 0`
	failure := code(0)
	failure.Failure = elog.New(elog.Error, elog.ProtocolViolation, "handshake failed").WithDetail("Why.")
	for name, tt := range map[string]struct {
		restart int
		ev      postmaster.Exited
		want    []string
	}{
		"0 forgets":                    {5, code(0), []string{gone, release, forgot, told, exit0}},
		"0 says nothing of activity":   {5, running("x", code(0)), []string{gone, release, forgot, told, exit0}},
		"1 waits":                      {5, code(1), []string{gone, told, said + "exited with exit code 1"}},
		"1 never restarts":             {never, code(1), []string{gone, release, forgot, told, said + "exited with exit code 1"}},
		"1 says what it was running":   {5, running("SELECT 1", code(1)), []string{gone, told, said + "exited with exit code 1 | Failed process was running: SELECT 1"}},
		"2 is a crash, logged first":   {5, code(2), []string{said + "exited with exit code 2", gone, told}},
		"crash never restarts":         {never, code(255), []string{said + "exited with exit code 255", gone, release, forgot, told}},
		"KILL is a crash":              {5, running("x", killedBy(unix.SIGKILL)), []string{said + "was terminated by signal 9: Killed | Failed process was running: x", gone, told}},
		"SEGV is a crash":              {5, killedBy(unix.SIGSEGV), []string{said + "was terminated by signal 11: Segmentation fault", gone, told}},
		"TERM when ready is a crash":   {5, killedBy(unix.SIGTERM), []string{said + "was terminated by signal 15: Terminated", gone, told}},
		"TERM before ready is exit 1":  {5, unready(killedBy(unix.SIGTERM)), []string{gone, told, said + "was terminated by signal 15: Terminated"}},
		"KILL before ready is a crash": {5, unready(killedBy(unix.SIGKILL)), []string{said + "was terminated by signal 9: Killed", gone, told}},
		"bad handshake is exit 1":      {5, failure, []string{gone, told, said + "could not be started: handshake failed | Why."}},
		"bad handshake never restarts": {never, failure, []string{gone, release, forgot, told, said + "could not be started: handshake failed | Why."}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.register(named("w", restart(tt.restart), notifying(101)))
			r.started("w")
			r.trace = nil
			r.exit("w", tt.ev)
			r.want(tt.want...)
			delay := longestSleep
			if len(tt.want) == 3 {
				delay = 5 * time.Second // the restart
			}
			r.wantWake(delay)
			r.exit("w", tt.ev) // once is enough
			r.want()
		})
	}
}

// SPEC 6: the names of signals are those of strsignal(3).
func TestSpec6SignalNames(t *testing.T) {
	for sig, name := range map[unix.Signal]string{
		unix.SIGHUP: "1: Hangup", unix.SIGQUIT: "3: Quit", unix.SIGABRT: "6: Aborted", unix.SIGBUS: "7: Bus error",
		unix.SIGSYS: "31: Bad system call", 33: "33: Unknown signal 33", 34: "34: Real-time signal 0",
		64: "64: Real-time signal 30", 65: "65: Unknown signal 65", 0: "0: Unknown signal 0",
	} {
		r := newRig(t, named("w"))
		r.started("w")
		r.trace = nil
		r.exit("w", killedBy(sig))
		if want := `LOG: background worker "w type" (PID 102) was terminated by signal ` + name; r.trace[0] != want {
			t.Errorf("got %q, want %q", r.trace[0], want)
		}
	}
}

// SPEC 5: auxiliary processes are restarted at once, but not more often than
// once a second.
func TestSpec5AuxiliaryProcessesAreAlwaysRestarted(t *testing.T) {
	for name, tt := range map[string]struct {
		ev   postmaster.Exited
		want string
	}{
		"exit 0":  {code(0), "LOG: server monitor process (PID 101) exited with exit code 0"},
		"exit 1":  {running("x", code(1)), "LOG: server monitor process (PID 101) exited with exit code 1 | Failed process was running: x"},
		"crash":   {killedBy(unix.SIGABRT), "LOG: server monitor process (PID 101) was terminated by signal 6: Aborted"},
		"failure": {postmaster.Exited{Failure: errNoExec}, `LOG: server monitor process (PID 101) could not be started: "/lib/x": no such file or directory`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.now = r.now.Add(time.Second)
			r.exit("server monitor", tt.ev)
			r.want(tt.want, "spawn server monitor, slot -1")
			r.started("server monitor")
			r.trace = nil
			r.exit("server monitor", code(1))
			r.want("LOG: server monitor process (PID 102) exited with exit code 1")
			r.wantWake(time.Second)
			r.pass(time.Second - 1)
			r.want()
			r.pass(1)
			r.want("spawn server monitor, slot -1")
		})
	}
}

// SPEC 4 and 5: neither does a start that fails end the attempts.
func TestSpec5AuxiliaryStartFailure(t *testing.T) {
	r := bareRig(t, nil, "gateway")
	r.step(postmaster.Started{})
	r.trace = nil
	r.fail("gateway", errNoExec, false)
	r.want(`LOG: could not fork "gateway" process: "/lib/x": no such file or directory`)
	r.wantWake(time.Second)
	r.pass(time.Second)
	r.want("spawn gateway, slot -1")
}

// SPEC 10: a SIGHUP re-reads the files and goes to every child.
func TestSpec10Reload(t *testing.T) {
	const log = "LOG: received SIGHUP, reloading configuration files"
	r := newRig(t, named("starting"), named("w"))
	r.started("w")
	r.trace = nil
	r.step(postmaster.ReloadRequested{})
	r.want(log, "Reload{}", "SIGHUP to 102", "SIGHUP to 101")
	r.started("starting")
	r.want("slot 1: pid 103", "SIGHUP to 103")
	r.step(postmaster.ShutdownRequested{Mode: postmaster.SmartShutdown})
	r.trace = nil
	r.step(postmaster.ReloadRequested{})
	r.want(log, "Reload{}", "SIGHUP to 102", "SIGHUP to 103", "SIGHUP to 101")
	r.step(postmaster.ShutdownRequested{Mode: postmaster.FastShutdown})
	r.trace = nil
	r.step(postmaster.ReloadRequested{})
	r.want()
}
