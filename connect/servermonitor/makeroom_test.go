package servermonitor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

func TestInterruptibleWorkersMakeRoomForACommandInTime(t *testing.T) {
	synctest.Test(t, testInterruptibleWorkersMakeRoomForACommandInTime)
}

func testInterruptibleWorkersMakeRoomForACommandInTime(t *testing.T) {
	p, o := newProcess("c"), newOpener()
	s := newSession(primary)
	o.results <- s
	start(t, p, o)
	p.expect(t, shmem.ServerReadWrite)
	<-s.looked

	<-s.looked // the second look, after the whole pause
	if len(s.asked) != 0 {
		t.Error("the server was asked though no worker is interruptible")
	}
	<-p.reports // that it is there
	p.interruptible.Store(2)
	s.claims <- []uint32{5, 16384}
	begin := time.Now()
	if first, second := await(t, "termination", p.terminated), await(t, "termination", p.terminated); first != 5 || second != 16384 {
		t.Errorf("workers were to leave the databases %d and %d", first, second)
	}
	if took := time.Since(begin); took > claimsPause {
		t.Errorf("took %v", took)
	}
	if r := await(t, "report", p.reports); r.Message != "terminating 2 interruptible background workers connected to database with OID 5" {
		t.Errorf("got %q", r.Message)
	}
	synctest.Wait()
	if len(p.reports) != 0 {
		t.Errorf("of a database in which nobody was in the way: %q", (<-p.reports).Message)
	}
	await(t, "the look when the pause is over", s.looked)
	if took := time.Since(begin); took != readWritePause {
		t.Errorf("the questions moved the next look to %v", took)
	}
}

func TestAPokeIsNotOverheardBetweenTwoQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newProcess("c"), newOpener()
		p.interruptible.Store(1)
		first, second := newSession(primary), newSession(primary)
		o.results <- first
		start(t, p, o)
		p.expect(t, shmem.ServerReadWrite)
		for range 3 {
			await(t, "question", first.asked)
		}
		o.results <- second
		begin := time.Now()
		p.SetLatch()
		p.expect(t, shmem.ServerReadWrite)
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v", took)
		}
		await(t, "question over the new session", second.asked)
	})
}

func TestASessionThatIsLostAtTheQuestionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newProcess("c"), newOpener()
		p.interruptible.Store(1)
		s := newSession(primary)
		o.results <- s
		s.claims <- errLost
		start(t, p, o)
		p.expect(t, shmem.ServerReadWrite)
		o.results <- newSession(primary)
		p.expect(t, shmem.ServerUnreachable)
		p.expect(t, shmem.ServerReadWrite)
		await(t, "the lost session is closed", s.closed)
	})
}

func TestAServerThatDoesNotTellIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, o := newProcess("c"), newOpener()
		p.interruptible.Store(1)
		s := newSession(primary)
		o.results <- s
		s.claims <- elog.New(elog.Error, elog.InsufficientPrivilege, "permission denied for view pg_locks")
		start(t, p, o)
		p.expect(t, shmem.ServerReadWrite)
		<-s.looked
		await(t, "question", s.asked)
		await(t, "the next question", s.asked)
		await(t, "the next look", s.looked)
		if len(p.published) != 0 {
			t.Errorf("published %v", <-p.published)
		}
	})
}
