package queue

import (
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

// These tests are the proof of "at least once", and of "exactly once" for what a
// job does in its transaction: they kill whoever has a part in a job.

func TestAJobWhoseWorkerIsKilledIsDoneByAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.claim_timeout=100ms")
	job := b.enqueue("hold")
	kill(t, b.awaitBegun(job, 1))
	b.finishHeld(job)
}

func TestAJobWhoseHostIsKilledIsDoneByTheNext(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.claim_timeout=100ms")
	job := b.enqueue("hold")
	b.awaitBegun(job, 1)
	b.host.Kill(t)
	b.host.Start(t)
	b.finishHeld(job)
}

func TestAJobWhoseServerIsKilledIsDoneWhenItIsBack(t *testing.T) {
	t.Parallel()
	server := pluginstest.NewCluster(t)
	b := newBenchOn(t, server.Postgres)
	b.startHost("queue.claim_timeout=100ms")
	job := b.enqueue("hold")
	b.awaitBegun(job, 1)
	server.Crash(t)
	server.Restart(t)
	b.finishHeld(job)
}

// finishHeld lets a held job go that somebody has been killed over.
func (b *bench) finishHeld(job string) {
	b.t.Helper()
	b.awaitBegun(job, 2)
	b.expect("0", "SELECT count(*) FROM effect")
	b.letGo()
	b.awaitEmpty()
	b.expect(job, "SELECT string_agg(job::text, ' ') FROM effect")
	b.expect("0", "SELECT count(*) FROM queue.dead")
	b.host.Stop(b.t)
}

func TestNoJobIsLostNorItsEffectDoubledInAStorm(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	server := pluginstest.NewCluster(t)
	b := newBenchOn(t, server.Postgres)
	b.startHost("queue.workers=4", "queue.claim_timeout=100ms", "queue.poll_interval=100ms")
	const rounds, jobsARound = 9, 100
	for round := range rounds {
		b.exec("SELECT queue.enqueue('effect', $1::jsonb, max_attempts => 1000) FROM generate_series(1, $2::int)", b.payload(), jobsARound)
		b.awaitMoreBegun(1 + random.IntN(jobsARound/2))
		switch (round + random.IntN(2)) % 3 { // each of them, in an order that differs
		case 0:
			_ = unix.Kill(b.lastToBegin(), unix.SIGKILL) // it may be dead already
		case 1:
			b.host.Kill(t)
			b.host.Start(t)
		case 2:
			server.Crash(t)
			server.Restart(t)
		}
	}
	b.awaitEmpty()
	b.expect("0", "SELECT count(*) FROM queue.dead")
	b.expect("900", "SELECT count(*) FROM effect")
	b.expect("900", "SELECT count(DISTINCT job) FROM effect")
	if n := len(b.begun("")); n <= rounds*jobsARound {
		t.Errorf("%d attempts have begun: nobody was killed in the middle of one", n)
	}
	b.host.Stop(b.t)
}

// awaitMoreBegun waits until so many further attempts have begun.
func (b *bench) awaitMoreBegun(n int) {
	b.t.Helper()
	before := len(b.begun(""))
	b.eventually("jobs to begin", func() bool { return len(b.begun("")) >= before+n })
}

func (b *bench) lastToBegin() int {
	pids := b.begun("")
	return pids[len(pids)-1]
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
