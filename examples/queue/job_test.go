package queue

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAJobsEffectIsCommittedWithItsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.enqueue("effect")
	b.awaitEmpty()
	b.expect("1", "SELECT count(*) FROM effect WHERE job = $1::bigint", job)
	b.expect("0", "SELECT count(*) FROM queue.dead")
	b.host.Stop(t)
}

func TestAJobOfATransactionThatIsRolledBackIsNone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("DO $$ BEGIN PERFORM queue.enqueue('effect'); RAISE SQLSTATE 'P0001'; EXCEPTION WHEN SQLSTATE 'P0001' THEN END $$")
	last := b.enqueue("effect")
	b.awaitEmpty()
	b.expect(last, "SELECT string_agg(job::text, ' ') FROM effect")
}

func TestAFailedAttemptIsRolledBackAndTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.retry_delay=50ms", "queue.poll_interval=1h")
	job := b.enqueue("second")
	b.awaitEmpty()
	if n := len(b.begun(job)); n != 2 {
		t.Errorf("it has begun %d times", n)
	}
	b.expect("1", "SELECT count(*) FROM effect")
	r := b.host.AwaitLog(t, "LOG:  job "+job+" of kind \"second\" has failed on attempt 1 of 20 and is tried again in ")
	if !strings.HasSuffix(r.Message, "ms") || r.Detail != "no luck (SQLSTATE XX000)" {
		t.Errorf("got %s", r)
	}
}

func TestTheLastFailureMakesADeadLetter(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.retry_delay=10ms")
	job := b.query("SELECT queue.enqueue('fail', $1::jsonb, max_attempts => 3)", b.payload())
	b.awaitEmpty()
	if n := len(b.begun(job)); n != 3 {
		t.Errorf("it has begun %d times", n)
	}
	b.expect("fail 3 of 3: no luck (SQLSTATE XX000)", "SELECT format('%s %s of %s: %s', kind, attempts, max_attempts, last_error) FROM queue.dead WHERE id = $1::bigint", job)
	b.expect("0", "SELECT count(*) FROM effect")
	b.host.AwaitLog(t, "WARNING:  job "+job+" of kind \"fail\" has failed on attempt 3 of 3 and is a dead letter")

	b.expect("true", "SELECT queue.retry($1::bigint)", job)
	b.awaitEmpty()
	b.expect("1", "SELECT count(*) FROM queue.dead")
	if n := len(b.begun(job)); n != 6 {
		t.Errorf("with the attempts of queue.retry it has begun %d times", n)
	}
	b.expect("false", "SELECT queue.retry(0)")
}

func TestAPermanentErrorIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.enqueue("permanent")
	b.awaitEmpty()
	if n := len(b.begun(job)); n != 1 {
		t.Errorf("it has begun %d times", n)
	}
	b.expect("no luck (SQLSTATE XX000)", "SELECT last_error FROM queue.dead")
	if Permanent(nil) != nil {
		t.Error("no error is an error")
	}
}

func TestOnlyTheJobSuffersFromItsPanic(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=1")
	b.exec("SELECT queue.enqueue('panic', max_attempts => 1)")
	b.enqueue("effect")
	b.awaitEmpty()
	b.expect("1", "SELECT count(*) FROM effect")
	b.expect("true", "SELECT last_error LIKE 'panic: out of cheese (SQLSTATE XX000)%handlers_test.go%' FROM queue.dead")
	for _, r := range b.host.Log() {
		if strings.Contains(r.Message, "exited with exit code") {
			t.Errorf("the worker has ended: %s", r)
		}
	}
}

func TestAnErrorOfTheCommitIsAnErrorOfTheJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("CREATE TABLE parent (id int PRIMARY KEY)")
	b.exec("CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
	b.exec("SELECT queue.enqueue('deferred', max_attempts => 1)")
	b.awaitEmpty()
	b.expect("true", "SELECT last_error LIKE '%violates foreign key constraint%(SQLSTATE 23503)%' FROM queue.dead")
	b.expect("0", "SELECT count(*) FROM child")
}

func TestAJobThatTakesTooLongHasFailed(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.job_timeout=200ms", "queue.workers=1")
	b.exec("SELECT queue.enqueue('sleep', $1::jsonb, max_attempts => 1)", b.payload())
	b.awaitEmpty()
	b.expect(`the job has taken longer than "queue.job_timeout" (200ms) (SQLSTATE 57014)`, "SELECT last_error FROM queue.dead")
	b.enqueue("effect") // the worker has survived it
	b.awaitEmpty()
}

func TestAJobThatKillsItsWorkerRunsOutOfAttemptsAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=2", "queue.claim_timeout=100ms")
	b.exec(`SELECT queue.enqueue(CASE i WHEN 3 THEN 'kill' ELSE 'effect' END, $1::jsonb, max_attempts => 2) FROM generate_series(1, 9) i`, b.payload())
	b.awaitEmpty()
	b.expect("8", "SELECT count(*) FROM effect")
	b.expect("8", "SELECT count(DISTINCT job) FROM effect")
	b.expect("kill 2: the worker died during attempt 2 (SQLSTATE XX000)", "SELECT string_agg(format('%s %s: %s', kind, attempts, last_error), '; ') FROM queue.dead")
}

func TestAFunctionOfAListedSchemaIsAJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.function_schemas=jobs, more")
	b.exec("CREATE SCHEMA jobs")
	b.exec(`CREATE FUNCTION jobs.remember(args jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.effect VALUES ((args->>''n'')::bigint)'`)
	b.exec("SELECT queue.enqueue('jobs.remember', '{\"n\": 42}')")
	b.awaitEmpty()
	b.expect("42", "SELECT string_agg(job::text, ' ') FROM effect")

	for kind, reason := range map[string]string{
		"public.remember":                  "there is no handler",
		"pg_catalog.pg_reload_conf":        "there is no handler",
		"pg_sleep":                         "there is no handler",
		`jobs.remember"('{}'); SELECT ("x`: "does not exist",
		"jobs.remember ":                   "does not exist",
		"jobs.nosuch":                      "does not exist",
	} {
		job := b.query("SELECT queue.enqueue($1, max_attempts => 1)", kind)
		b.awaitEmpty()
		b.expect("true", "SELECT position($2 in last_error) > 0 AND position('(SQLSTATE 42883)' in last_error) > 0 FROM queue.dead WHERE id = $1::bigint", job, reason)
	}
	b.expect("1", "SELECT count(*) FROM effect")
}

func TestABatchIsDoneInOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=1", "queue.batch_size=3")
	b.exec(`INSERT INTO queue.job (kind, payload, run_at) SELECT 'effect', $1::jsonb, now() - i * interval '1 s' FROM generate_series(1, 20) i`, b.payload())
	b.awaitEmpty()
	b.expect("20", "SELECT count(*) FROM effect")
	b.expect("true", "SELECT array_agg(job ORDER BY at) = array_agg(job ORDER BY job DESC) FROM effect")
}

func TestTheJobInHandShowsInTheServersActivity(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=1")
	job := b.enqueue("hold")
	b.awaitBegun(job, 1)
	const sql = "SELECT string_agg(application_name, ' ') FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'queue%'"
	b.expect("queue worker 1: job "+job+", hold", sql)
	b.expect("1", "SELECT claimed FROM queue.status WHERE kind = 'hold'")
	b.letGo()
	b.awaitEmpty()
	b.expect("queue worker 1", sql)
}

func TestAStatementThatIsCancelledFailsItsJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, "queue.workers=1")
	job := b.query("SELECT queue.enqueue('sleep', $1::jsonb, max_attempts => 1)", b.payload())
	pid := b.awaitBegun(job, 1)
	b.eventually("the statement", func() bool {
		return b.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()") == "1"
	})
	if err := unix.Kill(pid, unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	b.awaitEmpty()
	b.expect("canceling statement due to user request (SQLSTATE 57014)", "SELECT last_error FROM queue.dead")
}
