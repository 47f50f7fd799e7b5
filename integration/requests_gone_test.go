//go:build linux

package integration

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// titles returns the names of the workers that a host runs, as their processes say.
func (r *requests) titles(h *testHost) string {
	r.t.Helper()
	var titles []string
	for _, child := range h.children() {
		if title := processTitle(child); strings.Contains(title, "worker of ") {
			titles = append(titles, title[strings.Index(title, "worker of "):])
		}
	}
	return strings.Join(titles, ", ")
}

func TestWorkersEndWithTheSchemaThatTheyWereRequestedIn(t *testing.T) {
	skipIfShort(t)
	gone := newRequests(t, sharedServer(t))
	stays := newRequests(t, sharedServer(t))
	h := gone.host(withSetting("launcher_databases=" + gone.database + ", " + stays.database))
	gone.exec(`SELECT pgexthost.launch('effects', 'stay', 'worker of the schema', restart_time => 0)`)
	stays.exec(`SELECT pgexthost.launch('effects', 'stay', 'worker of another')`)
	gone.await(`SELECT state FROM pgexthost.requests`, "started")
	stays.await(`SELECT state FROM pgexthost.requests`, "started")
	gone.exec(`DROP SCHEMA pgexthost CASCADE`)
	h.waitLog(`LOG:  terminating background worker "worker of the schema", whose request does not exist any more`)
	h.waitLog(`DETAIL:  Database "` + gone.database + `", from which it was launched, has no table pgexthost.request any more.`)
	h.eventually("its end", func() bool { return gone.titles(h) == "worker of another" })

	// What is installed anew has nothing to do with it.
	gone.install("pgexthost")
	gone.exec(`SELECT pgexthost.launch('effects', 'once', 'again', main_arg => 7)`)
	gone.await(`SELECT state FROM pgexthost.requests`, "ended")
	h.stop()
}

func TestWorkersEndWithTheDatabaseThatTheyWereRequestedFrom(t *testing.T) {
	skipIfShort(t)
	r := newRequests(t, sharedServer(t))
	h := r.host()
	r.exec(`SELECT pgexthost.launch('effects', 'stay', 'worker of the database', start_time => 'postmaster', restart_time => 0)`)
	r.await(`SELECT state FROM pgexthost.requests`, "started")

	// It is the same database, whatever its name.
	execSQL(t, r.server.ConnInfo(), `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '`+r.database+`'`)
	r.rename(r.database + "_b")
	h.waitLog(`does not exist`)
	r.rename(strings.TrimSuffix(r.database, "_b"))
	h.waitLogCount("fulfilling the requests", 2)
	r.await(`SELECT state FROM pgexthost.requests`, "started")

	execSQL(t, r.server.ConnInfo(), "DROP DATABASE "+r.database+" WITH (FORCE)")
	h.waitLog(`LOG:  terminating background worker "worker of the database", whose request does not exist any more`)
	h.eventually("its end", func() bool { return r.titles(h) == "" })
	h.stop()
}

// rename gives the database another name, once nobody is connected to it.
func (r *requests) rename(name string) {
	r.t.Helper()
	execSQL(r.t, r.server.ConnInfo(), `DO $$ BEGIN LOOP BEGIN
			PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '`+r.database+`';
			ALTER DATABASE `+r.database+` RENAME TO `+name+`; EXIT;
		EXCEPTION WHEN object_in_use THEN NULL; END; END LOOP; END $$`)
	r.database = name
}

func TestASchemaThatIsMadeAnewIsNotGivenTheWorkersOfTheFormer(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host()
	const launch = `SELECT pgexthost.launch('effects', 'stay', 'worker of ours', main_arg => `
	r.exec(launch + `1)`)
	h.eventually("main", func() bool { return r.starts()[1] == 1 })
	r.exec(`DROP SCHEMA pgexthost CASCADE`)
	r.install("pgexthost")
	r.exec(launch + `2)`) // has the number of the former
	h.eventually("main of the other", func() bool { return r.starts()[2] == 1 })
	r.await(`SELECT state FROM pgexthost.requests`, "started")
	h.eventually("the end of the first", func() bool { return r.titles(h) == "worker of ours" })
	h.stop()
}

// A launcher that begins then knows nothing of the former tables, and finds a worker
// with the number of a request of the new ones.
func TestASchemaThatIsMadeAnewWithoutALauncherIsNotGivenTheWorkersOfTheFormer(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host()
	const launch = `SELECT pgexthost.launch('effects', 'stay', 'worker of ours', 'Ä', main_arg => `
	r.exec(launch + `1)`)
	h.eventually("main", func() bool { return r.starts()[1] == 1 })
	r.await(`SELECT state FROM pgexthost.requests`, "started")
	launcher := h.launcherPid()
	if err := unix.Kill(launcher, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.exec(`DROP SCHEMA pgexthost CASCADE`)
	r.install("pgexthost")
	r.exec(launch + `2)`)
	h.kill(launcher)
	h.eventually("main of the other", func() bool { return r.starts()[2] == 1 })
	r.await(`SELECT state FROM pgexthost.requests`, "started")
	h.eventually("the end of the first", func() bool { return r.titles(h) == "worker of ours" })
	h.stop()
}
