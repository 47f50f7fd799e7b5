package postmaster_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

func workers(w ...plugins.BackgroundWorker) []plugins.BackgroundWorker { return w }

// SPEC 4: crashed_at + restart_time, also beyond the longest sleep.
func TestSpec4RestartsInTime(t *testing.T) {
	scripts := map[string]script{
		"w":    {life: 3 * sec, exit: code(1)},
		"slow": {life: 3 * sec, exit: killedBy(unix.SIGSEGV)},
		"once": {life: 3 * sec, exit: code(0)},
	}
	inBubble(t, workers(named("w", restart(10)), named("slow", restart(100)), named("once", restart(1))), scripts, func(l *loop) {
		advance(110 * sec)
		l.at("spawn w", 0, 13*sec, 26*sec, 39*sec, 52*sec, 65*sec, 78*sec, 91*sec, 104*sec)
		l.at("spawn slow", 0, 103*sec)
		l.at("spawn once", 0)
	})
}

// SPEC 1: the longest sleep is 60 s.
func TestSpec1LongestSleep(t *testing.T) {
	inBubble(t, nil, nil, func(l *loop) {
		advance(time.Hour + sec)
		synctest.Wait()
		if l.ticks != 60 {
			t.Errorf("%d ticks in an hour", l.ticks)
		}
	})
}

// SPEC 4: transient failures are retried for 10 s, then fail.
func TestSpec4BackOffInTime(t *testing.T) {
	inBubble(t, workers(named("w", restart(never))), map[string]script{"w": {err: errNoExec}}, func(l *loop) {
		advance(time.Minute)
		l.at("spawn w", 0, 100*ms, 200*ms, 400*ms, 800*ms, 1600*ms, 3200*ms, 6400*ms, 10*sec)
		l.at("LOG: could not fork", 0, 10*sec)
		l.at("release slot 0", 10*sec)
	})
}

// SPEC 4: an exec on a hung file system stops neither the loop nor, in the
// end, an immediate shutdown.
func TestSpec9HangingExecInTime(t *testing.T) {
	inBubble(t, workers(named("other"), named("hangs")), map[string]script{"hangs": {fork: time.Hour}}, func(l *loop) {
		advance(10 * sec)
		l.events <- postmaster.ReloadRequested{}
		l.events <- fast
		advance(10 * sec)
		l.at("spawn other")
		l.at("SIGHUP", 10*sec)
		l.at("Exit")
		l.events <- immediate
		<-l.exited
		l.at("LOG: issuing SIGKILL", 25*sec)
		l.at("Exit", 25*sec)
	})
}

// SPEC 9: a fast shutdown waits for the last worker, and then for the
// auxiliary processes.
func TestSpec9FastInTime(t *testing.T) {
	inBubble(t, workers(named("quick"), named("slow")), map[string]script{"slow": {dying: 90 * sec}, "server monitor": {dying: sec}}, func(l *loop) {
		advance(sec)
		l.events <- fast
		<-l.exited
		l.at("SIGTERM to 101", 91*sec) // the monitor is the first child
		l.at("SIGKILL")
		l.at("Exit", 92*sec)
	})
}

// SPEC 9: an immediate one does not.
func TestSpec9ImmediateInTime(t *testing.T) {
	deaf := script{ignore: []unix.Signal{unix.SIGTERM, unix.SIGQUIT}}
	inBubble(t, workers(named("quick"), named("deaf")), map[string]script{"deaf": deaf}, func(l *loop) {
		advance(sec)
		l.events <- fast
		advance(sec)
		l.events <- immediate
		<-l.exited
		l.at("SIGQUIT", 2*sec, 2*sec)
		l.at("SIGKILL", 7*sec)
		l.at("Exit", 7*sec)
	})
}

// SPEC 5: an auxiliary process that cannot stay alive is no hot loop.
func TestSpec5AuxiliaryRestartsInTime(t *testing.T) {
	inBubble(t, nil, map[string]script{"server monitor": {life: 300 * ms, exit: code(1)}}, func(l *loop) {
		advance(3500 * ms)
		l.at("spawn server monitor", 0, sec, 2*sec, 3*sec)
	})
	inBubble(t, nil, map[string]script{"server monitor": {life: 5 * sec, exit: code(2)}}, func(l *loop) {
		advance(12 * sec)
		l.at("spawn server monitor", 0, 5*sec, 10*sec)
	})
}

// SPEC 5 and 11: neither is a worker for which a full server has no room,
// however quickly the monitor answers: the delay doubles, up to a minute.
func TestSpec5NoRoomInTime(t *testing.T) {
	full := script{life: 10 * ms, exit: sqlState("53300")}
	inBubble(t, workers(named("w", database, restart(never))), map[string]script{"w": full}, func(l *loop) {
		news := func() { l.events <- postmaster.ServerStateChanged{State: shmem.ServerReadWrite, Started: serverA} }
		l.poked = func() { go news() }
		news()
		advance(200 * sec)
		l.at("spawn w", 0, 10*ms, 1020*ms, 3030*ms, 7040*ms, 15050*ms, 31060*ms, 63070*ms, 123080*ms, 183090*ms)
		l.at("Poke", 10*ms, 20*ms, 1030*ms, 3040*ms, 7050*ms, 15060*ms, 31070*ms, 63080*ms, 123090*ms, 183100*ms)
	})
}

// A worker that ran for a minute has overcome what it suffered from.
func TestALongRunEndsTheBackOff(t *testing.T) {
	long := script{life: 61 * sec, exit: sqlState("53300")}
	inBubble(t, workers(named("w", database, restart(never))), map[string]script{"w": long}, func(l *loop) {
		news := func() { l.events <- postmaster.ServerStateChanged{State: shmem.ServerReadWrite, Started: serverA} }
		l.poked = func() { go news() }
		news()
		advance(200 * sec)
		l.at("spawn w", 0, 61*sec, 122*sec, 183*sec)
	})
}

// SPEC 4 and 9: many workers come and go in a burst.
func TestSpec4ManyWorkers(t *testing.T) {
	var static []plugins.BackgroundWorker
	for i := range 1000 {
		static = append(static, named(fmt.Sprint(i)))
	}
	inBubble(t, static, nil, func(l *loop) {
		advance(sec)
		synctest.Wait()
		if l.pids != 1001 || l.ticks != 9 {
			t.Errorf("%d processes after %d ticks, want 1001 after 9", l.pids, l.ticks)
		}
		l.events <- fast
		<-l.exited
		l.at("Exit", sec)
	})
}
