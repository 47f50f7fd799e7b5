package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

func TestSIGTERMLetsTheJobInHandEndAndReturnsTheOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=1", "queue.claim_timeout=1h")
	b.exec("CREATE TABLE returned (job bigint)")
	b.exec("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO returned VALUES (NEW.id); RETURN NULL; END'")
	b.exec(`CREATE TRIGGER note AFTER UPDATE ON queue.job FOR EACH ROW
		WHEN (NEW.attempts < OLD.attempts AND NEW.claimed_by IS NULL AND NEW.run_at <= now()) EXECUTE FUNCTION note()`)
	// Quick jobs make the batches grow, until one holds more than one job.
	b.exec("SELECT queue.enqueue('companion', $1::jsonb) FROM generate_series(1, 500)", b.payload())
	var held, pid int
	b.eventually("a batch", func() bool {
		text, _ := os.ReadFile(filepath.Join(b.tmp, "held"))
		_, err := fmt.Sscan(string(text), &held, &pid)
		return err == nil
	})
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.letGo()
	b.awaitTerminated(pid)
	b.expect("1", "SELECT count(*) FROM effect WHERE job = $1::bigint", strconv.Itoa(held))
	b.expect("true", "SELECT count(*) > 0 FROM returned")
	b.expect("0", "SELECT count(*) FROM effect JOIN returned USING (job) WHERE job <= $1::bigint", strconv.Itoa(held))
	b.awaitEmpty() // by the worker that the host starts again
	b.expect("500", "SELECT count(*) FROM effect")
	if n := len(b.begun("")); n != 500 {
		t.Errorf("%d attempts have begun", n)
	}
}

// awaitTerminated waits until a worker has said that SIGTERM has ended it.
func (b *bench) awaitTerminated(pid int) {
	b.t.Helper()
	const last = "FATAL:  terminating background worker \"queue worker\" due to administrator command"
	b.eventually(last, func() bool {
		return slices.ContainsFunc(b.host.Log(), func(r pluginstest.Record) bool { return r.Pid == pid && r.String() == last })
	})
}

func TestAFastShutdownWaitsForTheJobInHand(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.enqueue("hold")
	b.awaitBegun(job, 1)
	b.host.Signal(t, unix.SIGINT)
	b.host.AwaitLog(t, "LOG:  received fast shutdown request")
	b.letGo()
	if code := b.host.Wait(t); code != 0 {
		t.Errorf("the host has exited with code %d", code)
	}
	b.expect(job, "SELECT string_agg(job::text, ' ') FROM effect")
	b.expect("0", "SELECT count(*) FROM queue.job")
}

func TestAJobThatDoesNotEndIsReturnedAfterTheStopTimeout(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
	t.Parallel()
	b := newBench(t, "queue.stop_timeout=50ms", "queue.claim_timeout=1h", "queue.poll_interval=1h")
	for _, kind := range []string{"hold", "sleep"} { // one waits for its context, one for the server
		job := b.enqueue(kind)
		pid := b.awaitBegun(job, 1)
		if err := unix.Kill(pid, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		b.awaitTerminated(pid)
		if next := b.awaitBegun(job, 2); next == pid { // at once, whatever the claim's time-out
			t.Error("it is still the same process")
		}
		b.expect("1", "SELECT attempts FROM queue.job WHERE id = $1::bigint", job)
	}
	b.expect("0", "SELECT count(*) FROM effect")
}

func TestALostNotificationCostsOnePollInterval(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.poll_interval=100ms")
	b.exec("ALTER TABLE queue.job DISABLE TRIGGER notify")
	for range 3 {
		b.enqueue("effect")
		b.awaitEmpty()
	}
}

func TestANotificationIsHeardAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.poll_interval=1h")
	for range 3 {
		b.enqueue("effect")
		b.awaitEmpty()
	}
}

func TestAJobIsDoneWhenItIsDueAndNotBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.poll_interval=1h")
	later := b.query("SELECT queue.enqueue('effect', $1::jsonb, now() + interval '1 hour')", b.payload())
	b.exec("SELECT queue.enqueue('effect', $1::jsonb, now() + interval '300 ms')", b.payload())
	b.eventually("the first job", func() bool { return b.query("SELECT count(*) FROM queue.job") == "1" })
	b.expect(later, "SELECT id FROM queue.job")
	b.expect("1 1", "SELECT format('%s %s', scheduled, (SELECT count(*) FROM effect)) FROM queue.status")
}

func TestWorkersDoJobsInParallel(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=3", "queue.claim_timeout=1h")
	var jobs []string
	for range 3 {
		jobs = append(jobs, b.enqueue("hold"))
	}
	pids := make(map[int]bool)
	for _, job := range jobs {
		pids[b.awaitBegun(job, 1)] = true
	}
	if len(pids) != 3 {
		t.Errorf("3 jobs in the hands of %d processes", len(pids))
	}
	b.letGo()
	b.awaitEmpty()
}

// A claim that overlaps with another's locks, for a moment, what that one has got.
func TestWorkersThatClaimAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=4", "queue.claim_timeout=1h", "queue.batch_size=3", "queue.function_schemas=jobs", "log_min_messages=log")
	b.exec("CREATE SCHEMA jobs")
	b.exec("CREATE FUNCTION jobs.quick(jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.effect VALUES (1)'")
	b.exec("INSERT INTO queue.job (kind) SELECT 'jobs.quick' FROM generate_series(1, 3000)")
	b.awaitEmpty()
	b.expect("3000", "SELECT count(*) FROM effect")
}

func TestAJobIsNobodyElsesHoweverLongItTakes(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=2", "queue.claim_timeout=100ms", "queue.poll_interval=10ms")
	job := b.enqueue("hold")
	b.awaitBegun(job, 1)
	b.eventually("the claim to be over", func() bool { return b.query("SELECT run_at < now() - interval '0.3 s' FROM queue.job") == "true" })
	b.enqueue("effect") // the other worker is awake
	b.eventually("the other job", func() bool { return b.query("SELECT count(*) FROM effect") == "1" })
	b.letGo()
	b.awaitEmpty()
	if n := len(b.begun(job)); n != 1 {
		t.Errorf("it has begun %d times", n)
	}
}

func TestAReloadCountsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.poll_interval=1h", "queue.workers=1")
	b.enqueue("effect")
	b.awaitEmpty()
	b.exec("CREATE SCHEMA jobs")
	b.exec("CREATE FUNCTION jobs.nothing(jsonb) RETURNS void LANGUAGE sql AS ''")
	b.exec("SELECT queue.enqueue('jobs.nothing', max_attempts => 1)")
	b.awaitEmpty()
	b.expect("1", "SELECT count(*) FROM queue.dead")

	b.host.Set(t, "queue.function_schemas", "jobs")
	b.host.AwaitLog(t, "LOG:  parameter \"queue.function_schemas\" changed to \"jobs\"")
	b.eventually("the function to be known", func() bool {
		b.exec("SELECT queue.retry(id) FROM queue.dead")
		b.awaitEmpty()
		return b.query("SELECT count(*) FROM queue.dead") == "0"
	})
}

func TestAListThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	if err := checkSchemas(`jobs, "`); err == nil || !strings.Contains(err.Error(), "queue.function_schemas") {
		t.Errorf("got %v", err)
	}
	if err := checkSchemas(`jobs, "odd, one"`); err != nil {
		t.Error(err)
	}
}
