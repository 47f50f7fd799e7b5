//go:build linux

package integration

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// Once a shutdown has begun, whoever waits is answered, whether the worker was
// registered before or is only now.
func TestAShutdownAnswersEveryWait(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"stays", "goes"})
	stays, goes := ls[0], ls[1]
	unstarted := stays.register(unstartable("unstarted"))
	running := goes.register(waiter("running"))
	goes.awaitStart(running)
	stays.giveWait(h, order{Do: "await start", Handle: unstarted})
	goes.giveWait(h, order{Do: "await end", Handle: running})

	h.signal(unix.SIGINT)
	if a := stays.answer(); !a.Stopped {
		t.Errorf("who waits for a start: got %+v", a)
	}
	if a := goes.answer(); a.Error != "" && a.Code != "57P01" {
		t.Errorf("who waits for an end, and shall end: got %+v", a)
	}
	for range 20 { // more than there are slots: they are given back
		late := stays.register(waiter("late"))
		if a := stays.do(order{Do: "await start", Handle: late}); !a.Stopped {
			t.Fatalf("who registers too late: got %+v", a)
		}
		stays.must(order{Do: "await end", Handle: late})
		stays.must(order{Do: "terminate", Handle: late})
	}
	stays.must(order{Do: "await end", Handle: running})
	stays.give(order{Do: "exit"})
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := h.count(`"late"`); n != 0 {
		t.Errorf("workers that came too late are mentioned %d times", n)
	}
}

func TestTheHostsDeathEndsEveryWait(t *testing.T) {
	for _, wait := range []string{"await start", "await end"} {
		t.Run(wait, func(t *testing.T) {
			t.Parallel()
			h, ls := startLaunchers(t, []string{"one", "stays"})
			for _, l := range ls {
				l.giveWait(h, order{Do: wait, Handle: l.register(unstartable("u"))})
			}
			if err := h.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			for _, l := range ls {
				if a := l.answer(); !a.Died || a.Code != "57P01" {
					t.Errorf("%s: got %+v", l.name, a)
				}
			}
			h.awaitLogEnd()
		})
	}
}

func TestSigtermEndsAWaitWithItsReason(t *testing.T) {
	for _, wait := range []string{"await start", "await end"} {
		t.Run(wait, func(t *testing.T) {
			t.Parallel()
			h, ls := startLaunchers(t, []string{"l"})
			l := ls[0]
			l.giveWait(h, order{Do: wait, Handle: l.register(unstartable("u"))})
			kill(t, l.pid, unix.SIGTERM)
			if a := l.answer(); a.Died || a.Code != "57P01" || a.Error != `terminating background worker "launcher" due to administrator command` {
				t.Errorf("got %+v", a)
			}
			h.waitLog(`LOG:  background worker "launcher" \(PID \d+\) exited with exit code 1$`)
			h.stop()
		})
	}
}

func TestAHundredRegistrationsAtOnce(t *testing.T) {
	t.Parallel()
	const launchers, each = 4, 25
	var names []string
	for i := range launchers {
		names = append(names, fmt.Sprint("l", i))
	}
	h, ls := startLaunchers(t, names, withSetting("max_worker_processes=104"))
	handles := make(map[plugins.Handle]*testLauncher)
	for i := range each {
		for _, l := range ls { // all of them at the same time
			l.give(order{Do: "register", Worker: l.notified(waiter(fmt.Sprint(l.name, " ", i)))})
		}
		for _, l := range ls {
			a := l.answer()
			if a.Error != "" || handles[a.Handle] != nil {
				t.Fatalf("%s: got %+v", l.name, a)
			}
			handles[a.Handle] = l
		}
	}
	if a := ls[0].do(order{Do: "register", Worker: ls[0].notified(waiter("one too many"))}); !a.NoSlot {
		t.Errorf("got %+v", a)
	}
	pids := make(map[int]bool)
	for handle, l := range handles {
		pid := l.awaitStart(handle)
		if a := l.must(order{Do: "type", Pid: pid}); pids[pid] || a.Text != "dynamic" {
			t.Errorf("%s has pid %d, of type %q", handle, pid, a.Text)
		}
		pids[pid] = true
	}
	for handle := range handles {
		ls[0].must(order{Do: "terminate", Handle: handle}) // whose ever they are
	}
	for handle, l := range handles {
		l.must(order{Do: "await end", Handle: handle})
	}
	h.waitLogCount(`DEBUG:  unregistering background worker "l\d \d+"$`, launchers*each)
	if left := h.children(); len(left) != launchers {
		t.Errorf("%d children are left", len(left))
	}
	h.stop()
}

// Auxiliary processes may register workers, and are notified of them.
func TestAnAuxiliaryProcessRegistersWorkers(t *testing.T) {
	t.Parallel()
	h, ls := startCallers(t, []string{""}, withEnvironment(auxiliaryLauncher+"=1"))
	l := ls[0]
	handle := l.register(waiter("d"))
	pid := l.awaitStart(handle)
	if !l.must(order{Do: "latch", Timeout: limit / 2}).Found {
		t.Error("it was not notified")
	}
	l.wantStatus(handle, plugins.HandleStarted, pid)
	l.end(handle)

	// It outlives the workers in a shutdown, and is answered to the last.
	running := l.register(waiter("running"))
	l.register(unstartable("unstarted"))
	h.waitLog(`DEBUG:  registering background worker "unstarted"$`)
	l.awaitStart(running)
	l.giveWait(h, order{Do: "await end", Handle: running})
	h.signal(unix.SIGINT)
	if a := l.answer(); a.Error != "" && a.Code != "57P01" { // its own SIGTERM is next
		t.Errorf("got %+v", a)
	}
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if h.count(`unregistering background worker "unstarted"$`) != 1 {
		t.Error("the unstarted worker was not forgotten, though somebody may wait for it")
	}
}
