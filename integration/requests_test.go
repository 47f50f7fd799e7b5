//go:build linux

package integration

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

func TestACommittedRequestRunsAndOneThatIsRolledBackDoesNot(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host()
	h.waitLog("fulfilling the requests of database")
	r.exec(`BEGIN; SELECT pgexthost.launch('effects', 'once', main_arg => 1); ROLLBACK`)
	r.exec(`BEGIN; SELECT pgexthost.launch('effects', 'once', main_arg => 2); SAVEPOINT s;
		SELECT pgexthost.launch('effects', 'once', main_arg => 3); ROLLBACK TO s; COMMIT`)
	r.exec(`SELECT pgexthost.launch('effects', 'once', main_arg => 4, start_time => 'postmaster')`)
	r.await("SELECT string_agg(main_arg || state || exit_code, ',' ORDER BY id) FROM pgexthost.requests", "2ended0,4ended0")
	if got := r.starts(); got[1] != 0 || got[2] != 1 || got[3] != 0 || got[4] != 1 {
		t.Errorf("starts: %v", got)
	}
	h.stop()
}

func TestTheTablesTellWhatHasBecomeOfARequest(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host(withSetting("max_worker_processes=2"))
	r.exec(`SELECT pgexthost.launch('effects', 'fail', 'failing'); SELECT pgexthost.launch('nolib', 'main', 'no library');
		SELECT pgexthost.launch('effects', 'nope', 'no function')`)
	r.await(`SELECT string_agg(concat_ws('|', name, state, sqlstate, message), ', ' ORDER BY id) FROM pgexthost.requests`,
		`failing|failed|22012|division by zero, no library|failed|58P01|could not access file "nolib": No such file or directory, `+
			`no function|failed|42883|could not find function "nope" in file "effects"`)
	r.exec(`SELECT pgexthost.launch('effects', 'stay', 'a'); SELECT pgexthost.launch('effects', 'stay', 'b'); SELECT pgexthost.launch('effects', 'once', 'c')`)
	r.await(`SELECT string_agg(concat_ws('|', name, state, last_sqlstate, last_error), ', ' ORDER BY name) FROM pgexthost.workers`,
		"a|running, b|running, c|pending|53400|out of background worker slots")
	r.exec(`SELECT pgexthost.terminate('a')`)
	r.await(`SELECT string_agg(concat_ws('|', name, state, exit_code, message), ', ' ORDER BY id) FROM pgexthost.requests WHERE id > 3`, "a|ended|1, b|started, c|ended|0")
	h.stop()
	r.await(`SELECT concat_ws('|', state, message IS NOT NULL) FROM pgexthost.requests WHERE name = 'b'`, "failed|t")
	r.await(`SELECT count(*) FROM pgexthost.slots`, "0")
}

func TestADatabaseSeesNothingOfTheRequestsOfAnother(t *testing.T) {
	one := newRequests(t, sharedServer(t))
	other := newRequests(t, sharedServer(t))
	h := one.host(withSetting("launcher_databases="+one.database+", "+other.database), withWorkers(plugins.BackgroundWorker{Name: "static", FunctionName: "wait"}))
	one.exec(`SELECT pgexthost.launch('effects', 'stay', 'of one')`)
	other.exec(`SELECT pgexthost.launch('effects', 'stay', 'of the other')`)
	const seen = `SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) FROM pgexthost.slots`
	one.await(seen, "of one running, static running")
	other.await(seen, "of the other running, static running")
	h.stop()
}

func TestLaunchAndWaitReturnsThePid(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	r.install("worker_spi")
	h := r.host(withSetting("max_worker_processes=2"))
	pid := query[int](t, r.conninfo(), "CALL pgexthost.launch_and_wait('effects', 'stay', 'stays')")
	if !strings.Contains(processTitle(pid), "stays") {
		t.Errorf("pid %d is %q", pid, processTitle(pid))
	}
	r.await("SELECT pid FROM pgexthost.workers WHERE name = 'stays'", query[string](t, r.conninfo(), "SELECT pgexthost.wait_for_startup(1)::text"))
	if pid := query[int](t, r.conninfo(), "CALL worker_spi_launch_and_wait(7, "+r.text("SELECT oid FROM pg_database WHERE datname = current_database()")+")"); !strings.Contains(processTitle(pid), "worker_spi dynamic worker 7") {
		t.Errorf("pid %d is %q", pid, processTitle(pid))
	}
	r.await("SELECT to_regclass('schema7.counted')", "schema7.counted")
	if pid := query[*int](t, r.conninfo(), "CALL pgexthost.launch_and_wait('effects', 'stay', 'too many')"); pid != nil {
		t.Errorf("without a slot: %d", *pid)
	}
	r.await("SELECT state FROM pgexthost.requests WHERE name = 'too many'", "cancelled")
	r.exec("SELECT pgexthost.terminate('stays')")
	r.await("SELECT pgexthost.wait_for_shutdown(1)", "ended")
	r.await("SELECT count(*) FROM pgexthost.stat_activity WHERE backend_type = 'worker_spi dynamic' AND worker_pid IS NOT NULL AND pid IS NOT NULL AND request = 2", "1")
	h.stop()
}

func TestADeclaredWorkerRunsWhileItsRowExists(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host()
	r.exec(`INSERT INTO pgexthost.worker (name, library, function, main_arg, restart_time) VALUES ('d', 'effects', 'stay', 1, 0)`)
	const running = `SELECT string_agg(main_arg || state, ',' ORDER BY id) FROM pgexthost.requests WHERE declared = 'd'`
	r.await(running, "1started")
	r.exec(`UPDATE pgexthost.worker SET main_arg = 2`)
	r.await(running, "1ended,2started")
	r.exec(`SELECT pgexthost.terminate('d')`)
	r.await(running, "1ended,2ended,2started")
	r.exec(`DELETE FROM pgexthost.worker`)
	r.await(running, "1ended,2ended,2ended")
	r.exec(`INSERT INTO pgexthost.worker (name, library, function, main_arg, restart_time) VALUES ('d', 'effects', 'stay', 3, 0)`)
	r.await(running, "1ended,2ended,2ended,3started")
	h.eventually("its main", func() bool { return r.starts()[3] == 1 })
	h.stop()
	h = r.host(inDir(h.dir))
	h.eventually("its main again", func() bool { return r.starts()[3] == 2 })
	r.await(running, "1ended,2ended,2ended,3started")
	h.stop()
}

func TestTheLaunchersSuccessorGoesOnWhereItDied(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host()
	h.waitLog("fulfilling the requests")
	r.exec(`SELECT pgexthost.launch('effects', 'stay', 'stays', main_arg => 1)`)
	r.await(`SELECT state FROM pgexthost.requests`, "started")
	h.eventually("main", func() bool { return r.starts()[1] == 1 })
	h.kill(h.launcherPid())
	h.waitLogCount("fulfilling the requests", 2)
	r.exec(`SELECT pgexthost.launch('effects', 'once', main_arg => 2)`)
	r.await(`SELECT string_agg(state, ',' ORDER BY id) FROM pgexthost.requests`, "started,ended")
	r.exec(`SELECT pgexthost.terminate('stays')`)
	r.await(`SELECT string_agg(state, ',' ORDER BY id) FROM pgexthost.requests`, "ended,ended")
	if got := r.starts(); got[1] != 1 || got[2] != 1 {
		t.Errorf("starts: %v", got)
	}
	h.stop()
}

func TestAHostThatIsKilledLosesNoRequestAndDoublesNone(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host()
	r.exec(`SELECT pgexthost.launch('effects', 'stay', 'never', main_arg => 1); SELECT pgexthost.launch('effects', 'stay', 'again', main_arg => 2, restart_time => 0)`)
	h.eventually("both", func() bool { s := r.starts(); return s[1] == 1 && s[2] == 1 })
	h.signal(unix.SIGKILL)
	h.awaitExit()
	r.exec(`SELECT pgexthost.launch('effects', 'once', 'meanwhile', main_arg => 3)`)
	h = r.host(inDir(h.dir))
	r.await(`SELECT string_agg(concat_ws('|', name, state, sqlstate, message), ', ' ORDER BY id) FROM pgexthost.requests`,
		"never|failed|57P02|the host ended while the worker ran, again|started, meanwhile|ended")
	h.eventually("the second start", func() bool { return r.starts()[2] == 2 })
	if got := r.starts(); got[1] != 1 || got[3] != 1 {
		t.Errorf("starts: %v", got)
	}
	h.stop()
}

func TestOfTwoHostsOnOneDatabaseOneFulfilsItsRequests(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	first := r.host()
	first.waitLog("fulfilling the requests of database")
	second := r.host()
	second.waitLog(`LOG:  cannot fulfil the requests of database "` + r.database + `": another host serves it`)
	r.exec(`SELECT pgexthost.launch('effects', 'stay', 'mine', main_arg => 1, restart_time => 0)`)
	for arg := 2; arg < 12; arg++ {
		r.exec(`SELECT pgexthost.launch('effects', 'once', main_arg => ` + string(rune('0'+arg%10)) + `)`)
	}
	first.eventually("the first start", func() bool { return r.starts()[1] >= 1 })
	first.signal(unix.SIGKILL)
	first.awaitExit()
	second.waitLog("fulfilling the requests of database")
	r.await(`SELECT string_agg(DISTINCT state, ',') FROM pgexthost.requests WHERE restart_time < 0 AND state = 'pending'`, "")
	r.await(`SELECT state FROM pgexthost.requests WHERE name = 'mine'`, "started")
	first = r.host(inDir(first.dir)) // what it had started is its own, whoever serves the database now
	first.eventually("the start after that", func() bool { return r.starts()[1] == 2 })
	r.await(`SELECT count(*) FROM pgexthost.requests WHERE state = 'started'`, "1")
	first.signal(unix.SIGKILL)
	first.awaitExit()
	mine := `SELECT host FROM pgexthost.requests WHERE name = 'mine'`
	up := `SELECT host FROM pgexthost.hosts WHERE up`
	if r.text(mine) == r.text(up) || r.text(up) == "" {
		t.Errorf("the second host has taken what the first has started")
	}
	r.exec(`SELECT pgexthost.forget_host((` + mine + `))`)
	second.eventually("the second start", func() bool { return r.starts()[1] == 3 })
	r.await(mine, r.text(up))
	second.stop()
}

func TestARequestWithoutANotificationIsFoundAllTheSame(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host()
	h.waitLog("fulfilling the requests")
	r.exec(`INSERT INTO pgexthost.request (library, function, name, type, main_arg, extra, restart_time, start_time, requested_by)
		VALUES ('effects', 'once', 'n', 't', 1, '', -1, 'running', 'me'), ('postgres', 'ParallelWorkerMain', 'n', 't', 2, '', -1, 'running', 'me')`)
	r.await(`SELECT string_agg(state, ',' ORDER BY id) FROM pgexthost.requests`, "ended,failed")
	h.stop()
}

func TestARowThatSomebodyHasLockedHoldsUpNoOther(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	r.exec(`SELECT pgexthost.launch('effects', 'once', 'locked', main_arg => 1)`)
	if err := withConn(t, r.conninfo(), func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "BEGIN; SELECT pgexthost.terminate('locked')"); err != nil {
			return err
		}
		h := r.host()
		r.exec(`SELECT pgexthost.launch('effects', 'once', main_arg => 2)`)
		r.await(`SELECT string_agg(state, ',' ORDER BY id) FROM pgexthost.requests`, "pending,ended")
		if _, err := conn.Exec(ctx, "COMMIT"); err != nil {
			return err
		}
		r.await(`SELECT string_agg(state, ',' ORDER BY id) FROM pgexthost.requests`, "cancelled,ended")
		r.await(`SELECT count(*) FROM pgexthost.slots`, "0")
		h.stop()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := r.starts(); got[1] != 0 || got[2] != 1 {
		t.Errorf("starts: %v", got)
	}
}

func TestAReloadSaysWhichDatabasesAreServed(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	r.exec(`SELECT pgexthost.launch('effects', 'once', main_arg => 1)`)
	h := r.host(withFileSettingsOnly())
	h.awaitControlServer()
	h.waitLog("accepting read-write connections")
	set := func(databases string) {
		file, err := os.OpenFile(h.dir+"/pgexthost.conf", os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteString("launcher_databases = '" + databases + "'\n")
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		h.signal(unix.SIGHUP)
	}
	set("nowhere_to_be_found, " + r.database)
	h.waitLog(`LOG:  cannot fulfil the requests of database "nowhere_to_be_found": database "nowhere_to_be_found" does not exist`)
	r.await(`SELECT state FROM pgexthost.requests`, "ended")
	set("")
	r.await(`SELECT count(*) FROM pgexthost.hosts WHERE up`, "0")
	newDatabase(t, "unserved") // another than the server's own, which may be served
	set("unserved")
	h.waitLog(`LOG:  cannot fulfil the requests of database "unserved": schema "pgexthost" is not installed there`)
	h.stop()
}

// A launcher whose session is gone without its knowledge must not write what
// another one has decided since.
func TestALauncherThatHasLostTheDatabaseClaimsNothingMore(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host()
	h.waitLog("fulfilling the requests")
	r.exec("UPDATE pgexthost.owner SET epoch = epoch + 1") // as the other one would
	r.exec("SELECT pgexthost.launch('effects', 'once', main_arg => 1)")
	h.waitLog(`LOG:  cannot fulfil the requests of database "` + r.database + `": another host has taken over`)
	h.waitLogCount("fulfilling the requests", 2) // there is no other, after all
	r.await("SELECT state FROM pgexthost.requests", "ended")
	if got := r.starts(); got[1] != 1 {
		t.Errorf("starts: %v", got)
	}
	h.stop()
}
