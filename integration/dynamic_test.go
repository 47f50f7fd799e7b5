//go:build linux

package integration

import (
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

func TestADynamicWorkerFromItsRegistrationToItsEnd(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l", "other"})
	l, other := ls[0], ls[1]
	handle := l.register(waiter("d"))
	pid := l.awaitStart(handle)
	if !slices.Contains(h.children(), pid) {
		t.Errorf("%d is no child of the host", pid)
	}
	h.waitLog(`LOG:  d waits$`)
	l.wantStatus(handle, plugins.HandleStarted, pid)
	other.wantStatus(handle, plugins.HandleStarted, pid) // handles travel
	if a := other.must(order{Do: "type", Pid: pid}); a.Text != "dynamic" || !a.Found {
		t.Errorf("its type is %q, %v", a.Text, a.Found)
	}

	other.must(order{Do: "terminate", Handle: handle})
	other.must(order{Do: "terminate", Handle: handle})
	l.must(order{Do: "await end", Handle: handle})
	l.wantStatus(handle, plugins.HandleStopped, 0)
	l.must(order{Do: "terminate", Handle: handle})
	if a := l.do(order{Do: "await start", Handle: handle}); !a.Stopped || a.Code != "53000" {
		t.Errorf("got %+v", a)
	}
	if a := l.must(order{Do: "type", Pid: pid}); a.Found {
		t.Errorf("it still has a type, %q", a.Text)
	}
	h.waitLog(`FATAL:  terminating background worker "dynamic" due to administrator command$`)
	h.stop()
	for _, line := range []string{"registering background worker", "starting background worker process", "unregistering background worker"} {
		if n := h.count(`DEBUG:  ` + line + ` "d"$`); n != 1 {
			t.Errorf("%d lines say %s", n, line)
		}
	}
}

func TestARefusedRegistrationNamesTheWorker(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"})
	a := ls[0].do(order{Do: "register", Worker: plugins.BackgroundWorker{Name: "w"}})
	if a.Code != "22023" || a.Error != `background worker "w": background workers without shared memory access are not supported` {
		t.Errorf("got %+v", a)
	}
	h.stop()
}

func TestAWorkerThatIsRestartedKeepsItsHandle(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"})
	l := ls[0]
	soon, late := waiter("soon"), waiter("late")
	soon.RestartTime, late.RestartTime = 0, 3600
	again := l.register(soon)
	first := l.awaitStart(again)
	kill(t, first, unix.SIGTERM)
	var second int
	h.eventually("the restart", func() bool {
		a := l.must(order{Do: "look", Handle: again})
		second = a.Pid
		return a.Status == plugins.HandleStarted && a.Pid != first
	})
	l.end(again)
	if !isGone(second) {
		t.Error("it still runs")
	}

	waiting := l.register(late)
	kill(t, l.awaitStart(waiting), unix.SIGTERM)
	l.must(order{Do: "await end", Handle: waiting})
	l.wantStatus(waiting, plugins.HandleStopped, 0) // but it would be back, hence:
	if h.count(`unregistering background worker "late"$`) != 0 {
		t.Error("it was not to be restarted")
	}
	l.end(waiting)
	h.waitLog(`DEBUG:  unregistering background worker "late"$`)
	h.stop()
	if n := h.count(`starting background worker process "late"$`); n != 1 {
		t.Errorf("it was started %d times", n)
	}
}

func kill(t *testing.T, pid int, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// With every slot taken there is none, and whoever is told that a worker is
// gone can have its slot at once: forget comes before notify.
func TestWhoIsToldOfAWorkersEndCanHaveItsSlot(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"}, withSetting("max_worker_processes=2"))
	l := ls[0]
	quick := waiter("quick")
	quick.FunctionName = "return_nil"
	for i := range 40 {
		handle := l.register(waiter("d"))
		if a := l.do(order{Do: "register", Worker: l.notified(waiter("one too many"))}); !a.NoSlot || a.Code != "53400" ||
			a.Error != "out of background worker slots" || a.Hint != `You might need to increase "max_worker_processes".` {
			t.Fatalf("got %+v", a)
		}
		if i%4 > 0 {
			l.awaitStart(handle)
		}
		l.end(handle)
		handle = l.register(quick)
		l.must(order{Do: "await end", Handle: handle})
	}
	h.stop()
	if n := h.count(`one too many`); n != 0 {
		t.Errorf("the worker without a slot is mentioned %d times", n)
	}
}

// SPEC §2: registered minus terminated, in counters that wrap.
func TestParallelWorkersAreCappedWhereTheCountersWrap(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"}, withSetting("max_worker_processes=11"), withSetting("max_parallel_workers=2"))
	l := ls[0]
	parallel := waiter("p")
	parallel.Flags = plugins.ClassParallel
	for _, start := range []uint32{0, math.MaxUint32 - 1, math.MaxUint32} {
		l.must(order{Do: "counters", Count: start})
		running := []plugins.Handle{l.register(parallel), l.register(parallel)}
		others := []plugins.Handle{}
		for range 3 {
			if a := l.do(order{Do: "register", Worker: l.notified(parallel)}); !a.NoSlot || a.Code != "53400" ||
				a.Hint != `You might need to increase "max_parallel_workers".` {
				t.Fatalf("got %+v", a)
			}
			others = append(others, l.register(waiter("no parallel worker")))
			l.end(running[0])
			running = append(running[1:], l.register(parallel))
		}
		for _, handle := range append(running, others...) {
			l.end(handle)
		}
	}
	h.stop()
}

func TestTheParallelCapIsThatOfTheProcessesSettings(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"})
	l := ls[0]
	parallel := waiter("p")
	parallel.Flags = plugins.ClassParallel
	write(t, filepath.Join(h.dir, "pgexthost.conf"), "max_parallel_workers = 0\n")
	handle := l.register(parallel) // it has not read that yet
	l.must(order{Do: "reload"})
	if a := l.do(order{Do: "register", Worker: l.notified(parallel)}); !a.NoSlot {
		t.Errorf("got %+v", a)
	}
	l.end(handle)
	h.stop()
}

// SPEC §8: SIGUSR1 at the start and at the exit, for who has asked for it.
func TestNotificationsComeAtTheStartAndAtTheExit(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"notified", "other"})
	notified, other := ls[0], ls[1]
	latch := func(l *testLauncher, timeout time.Duration) bool {
		t.Helper()
		return l.must(order{Do: "latch", Timeout: timeout}).Found
	}
	d := waiter("d")
	d.NotifyPid = notified.pid
	handle := other.register(d)
	if !latch(notified, limit/2) {
		t.Error("the start was not notified")
	}
	other.must(order{Do: "await start", Handle: handle}) // it need not be the notified one
	other.must(order{Do: "latch"})
	other.must(order{Do: "terminate", Handle: handle})
	if !latch(notified, limit/2) {
		t.Error("the exit was not notified")
	}
	other.must(order{Do: "await end", Handle: handle})

	silent := waiter("silent")
	silent.NotifyPid = -1
	handle = other.register(silent)
	h.waitLog(`DEBUG:  worker notification PID -1 is not valid$`)
	other.must(order{Do: "await start", Handle: handle})
	other.end(handle)
	for _, l := range ls {
		if latch(l, 50*time.Millisecond) {
			t.Errorf("%s was notified of what it has not asked for", l.name)
		}
	}
	h.stop()
}

// When a notified process exits, so does its wish to be notified. It shows in
// what a shutdown forgets: unstarted workers that somebody waits for.
func TestNotificationsEndWithTheNotifiedProcess(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"leaves", "stays"})
	leaves, stays := ls[0], ls[1]
	orphan := unstartable("orphan")
	orphan.NotifyPid = leaves.pid
	stays.register(orphan)
	awaited := stays.register(unstartable("awaited"))
	h.waitLogCount(`DEBUG:  registering background worker "(orphan|awaited)"$`, 2)
	leaves.give(order{Do: "exit"})
	h.waitLog(`DEBUG:  background worker "launcher" \(PID \d+\) exited with exit code 0$`)

	h.signal(unix.SIGINT)
	if a := stays.do(order{Do: "await start", Handle: awaited}); !a.Stopped {
		t.Errorf("got %+v", a)
	}
	stays.give(order{Do: "exit"})
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if h.count(`unregistering background worker "awaited"$`) != 1 || h.count(`unregistering background worker "orphan"$`) != 0 {
		t.Error("the host notifies processes that are gone, or not those that live")
	}
}

func TestAStaleHandleHarmsNobody(t *testing.T) {
	t.Parallel()
	h, ls := startLaunchers(t, []string{"l"}, withSetting("max_worker_processes=2"))
	l := ls[0]
	stale := l.register(waiter("d"))
	l.awaitStart(stale)
	l.end(stale)
	current := l.register(waiter("heir"))
	pid := l.awaitStart(current)

	text := regexp.MustCompile(`^(.)(.{15})\.(\d+)\.(\d+)$`).FindStringSubmatch(current.String())
	if text == nil {
		t.Fatalf("a handle looks like %s", current)
	}
	other := "0"
	if text[1] == other {
		other = "1"
	}
	rebuilt, err := plugins.ParseHandle(other + text[2] + "." + text[3] + "." + text[4])
	if err != nil {
		t.Fatal(err)
	}
	outside, err := plugins.ParseHandle(text[1] + text[2] + ".2." + text[4])
	if err != nil {
		t.Fatal(err)
	}
	for _, handle := range []plugins.Handle{stale, rebuilt} {
		l.wantStatus(handle, plugins.HandleStopped, 0)
		l.end(handle)
		if a := l.do(order{Do: "await start", Handle: handle}); !a.Stopped {
			t.Errorf("%s: got %+v", handle, a)
		}
	}
	for _, do := range []string{"look", "terminate", "await start", "await end"} {
		if a := l.do(order{Do: do, Handle: outside}); a.Code != "22023" {
			t.Errorf("%s of a slot there is not: got %+v", do, a)
		}
	}
	l.wantStatus(current, plugins.HandleStarted, pid)
	l.end(current)
	h.stop()
}
