package connect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// bypassing is a worker of a host with allow_bypass_allowconn = on.
func bypassing(conninfo string) *fakeWorker {
	w := newWorker(conninfo)
	w.bypass = "on"
	return w
}

// closedDatabase makes a database that accepts no connections, with a limit.
func closedDatabase(t *testing.T, limit int) string {
	t.Helper()
	name := strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
	own := open(t, server.ConnInfo(), "")
	for _, sql := range []string{
		"DROP DATABASE IF EXISTS %s WITH (FORCE)", "CREATE DATABASE %s", fmt.Sprintf("ALTER DATABASE %%s WITH ALLOW_CONNECTIONS false CONNECTION LIMIT %d", limit),
	} {
		_, err := own.Exec(testContext(t), fmt.Sprintf(sql, pgx.Identifier{name}.Sanitize()))
		check(t, err)
	}
	return name
}

// stateOf says whether a database accepts connections, its limit, and what is
// set for it.
func stateOf(t *testing.T, conninfo, database string) string {
	t.Helper()
	return query(t, open(t, conninfo, ""), `SELECT concat_ws(' ', datallowconn, datconnlimit,
		(SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0)) FROM pg_database d WHERE datname = $1`, database)
}

func TestBypassOfAllowConnectionsConnectsAndLeavesNothingBehind(t *testing.T) {
	for name, tt := range map[string]struct {
		database func(t *testing.T) string
		role     string
		flags    connect.Flags
		before   string
	}{
		"template0":               {func(*testing.T) string { return "template0" }, "", 0, "f -1"},
		"as another role":         {func(*testing.T) string { return "template0" }, "plain", 0, "f -1"},
		"as a role without login": {func(*testing.T) string { return "template0" }, "nologin", bypass, "f -1"},
		"with a limit of its own": {func(t *testing.T) string { return closedDatabase(t, 7) }, "plain", 0, "f 7"},
		"with a limit of 0":       {func(t *testing.T) string { return closedDatabase(t, 0) }, "", 0, "f 0"},
		"Odd \\ 'name' \"x":       {func(t *testing.T) string { return closedDatabase(t, 3) }, "plain", 0, "f 3"},
		"not closed, no CONNECT":  {func(*testing.T) string { return "private" }, "plain", 0, "t -1"},
		"not closed":              {func(*testing.T) string { return "other" }, "plain", 0, "t -1 {idle_session_timeout=9min,extra_float_digits=2}"},
	} {
		t.Run(name, func(t *testing.T) {
			database := tt.database(t)
			w := func() *fakeWorker { return bypassing(server.ConnInfo()) }
			bothWays(t, w, database, tt.role, tt.flags|connect.BypassAllowConn, func(t *testing.T, conn *connect.Conn, err error) {
				check(t, err)
				if got := query(t, conn, "SELECT current_database() || ' ' || current_user"); got != database+" "+conn.User() || tt.role != "" && conn.User() != tt.role {
					t.Errorf("got %q", got)
				}
				if got := stateOf(t, server.ConnInfo(), database); got != tt.before {
					t.Errorf("the database is %q now, was %q", got, tt.before)
				}
				look := open(t, server.ConnInfo(), "")
				eventually(t, "the advisory locks to go with their session", func() bool {
					return query(t, look, "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'") == "0"
				})
			})
		})
	}
}

func TestRefusalsToBypassAllowConnections(t *testing.T) {
	off := func() *fakeWorker { return newWorker(server.ConnInfo()) }
	on := func(user string) func() *fakeWorker { return func() *fakeWorker { return bypassing(hostUser(user)) } }
	for name, tt := range map[string]struct {
		worker                func() *fakeWorker
		database, role        string
		code                  elog.SQLState
		message, detail, hint string
	}{
		"switched off": {off, "closed", "", "55000", `cannot bypass ALLOW_CONNECTIONS of database "closed"`,
			`"allow_bypass_allowconn" is off.`, "With it, the database is open to all superusers while a worker connects."},
		"switched off, and not closed": {off, "other", "", "55000", `cannot bypass ALLOW_CONNECTIONS of database "other"`,
			`"allow_bypass_allowconn" is off.`, "With it, the database is open to all superusers while a worker connects."},
		"no superuser": {on("plain"), "closed", "", "42501", `permission denied to bypass ALLOW_CONNECTIONS of database "closed"`,
			`The host logs in as "plain", which is not a superuser.`, `Name a superuser in "server_conninfo", or allow connections to the database.`},
		"no superuser, but a member of one": {on("member"), "closed", "chief", "42501", `permission denied to bypass ALLOW_CONNECTIONS of database "closed"`,
			`The host logs in as "member", which is not a superuser.`, `Name a superuser in "server_conninfo", or allow connections to the database.`},
		"the role first": {on(superuser), "closed", "nologin", "28000", `role "nologin" is not permitted to log in`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, tt.worker, tt.database, tt.role, connect.BypassAllowConn, func(t *testing.T, _ *connect.Conn, err error) {
				e := report(t, err)
				if e.Level != elog.Fatal || e.Code != tt.code || e.Message != tt.message || e.Detail != tt.detail || e.Hint != tt.hint {
					t.Errorf("got %v %s %q, DETAIL %q, HINT %q", e.Level, e.Code, e.Message, e.Detail, e.Hint)
				}
				if got := stateOf(t, server.ConnInfo(), "closed"); got != "f -1" {
					t.Errorf("the database is %q", got)
				}
			})
		})
	}
	_, err := connect.Initialize(testContext(t), bypassing(server.ConnInfo()), "nowhere", "", connect.BypassAllowConn)
	if e := report(t, err); e.Level != elog.Fatal || e.Code != "3D000" || e.Message != `database "nowhere" does not exist` {
		t.Errorf("got %+v", e)
	}
}

func TestWithoutADatabaseThereIsNothingToBypass(t *testing.T) {
	conn, err := connect.Initialize(testContext(t), newWorker(hostUser("plain")), "", "", connect.BypassAllowConn|bypass)
	check(t, err)
	closing(t, conn)
}

// While it is ajar, a database lets nobody in but superusers.
func TestADatabaseThatIsAjarIsOpenToSuperusersOnly(t *testing.T) {
	database := closedDatabase(t, -1)
	_, err := initializeAt(testContext(t), t, "open", server.ConnInfo(), database, "plain", func() {
		_, err := connect.Initialize(testContext(t), newWorker(hostUser("plain")), database, "", 0)
		if e := report(t, err); e.Code != elog.TooManyConnections {
			t.Errorf("got %+v", e)
		}
	})
	check(t, err)
}

func TestManyWorkersBypassAtOnce(t *testing.T) {
	database := closedDatabase(t, 5)
	other := server.ConnInfo() + " dbname=other" // whose advisory locks are its own
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			conn, err := connect.Initialize(testContext(t), bypassing([]string{server.ConnInfo(), other}[i%2]), database, "plain", connect.BypassAllowConn)
			if err != nil {
				t.Errorf("got %v", err)
				return
			}
			_ = conn.Close(context.Background())
		})
	}
	all.Wait()
	if got := stateOf(t, server.ConnInfo(), database); got != "f 5" {
		t.Errorf("the database is %q", got)
	}
}

func TestASecondWorkerWaitsUntilTheDatabaseIsPutBack(t *testing.T) {
	database := closedDatabase(t, 5)
	second := make(chan error, 1)
	_, err := initializeAt(testContext(t), t, "open", server.ConnInfo(), database, "", func() {
		go func() {
			conn, err := connect.Initialize(testContext(t), bypassing(server.ConnInfo()), database, "", connect.BypassAllowConn)
			if err == nil {
				_ = conn.Close(context.Background())
			}
			second <- err
		}()
		own := open(t, server.ConnInfo(), "")
		eventually(t, "the second worker waits", func() bool {
			return query(t, own, "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == "1"
		})
	})
	check(t, err)
	check(t, <-second)
	if got := stateOf(t, server.ConnInfo(), database); got != "f 5" {
		t.Errorf("the database is %q", got)
	}
}

func TestWhatOthersChangeMeanwhileStays(t *testing.T) {
	for name, tt := range map[string]struct{ change, want string }{
		"the limit":    {"CONNECTION LIMIT 9", "f 9"},
		"closed again": {"ALLOW_CONNECTIONS false", "f 5"},
	} {
		t.Run(name, func(t *testing.T) {
			database := closedDatabase(t, 5)
			_, err := initializeAt(testContext(t), t, "connected", server.ConnInfo(), database, "", func() {
				_, err := open(t, server.ConnInfo(), "").Exec(testContext(t), "ALTER DATABASE "+pgx.Identifier{database}.Sanitize()+" WITH "+tt.change)
				check(t, err)
			})
			check(t, err)
			if got := stateOf(t, server.ConnInfo(), database); got != tt.want {
				t.Errorf("the database is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheEndOfAWorkerPutsTheDatabaseBack(t *testing.T) {
	for _, step := range []string{"locked", "uncommitted", "open", "connected"} {
		t.Run(step, func(t *testing.T) {
			database := closedDatabase(t, 5)
			cause := errors.New("because")
			ctx, cancel := context.WithCancelCause(testContext(t))
			_, err := initializeAt(ctx, t, step, server.ConnInfo(), database, "plain", func() { cancel(cause) })
			if !errors.Is(err, cause) {
				t.Errorf("got %v", err)
			}
			if got := stateOf(t, server.ConnInfo(), database); got != "f 5" {
				t.Errorf("the database is %q", got)
			}
		})
	}
}

func TestARefusedConnectionPutsTheDatabaseBack(t *testing.T) {
	database := closedDatabase(t, 5)
	_, err := connect.Initialize(testContext(t), bypassing(server.ConnInfo()), database, "", connect.BypassAllowConn, connect.WithSetting("work_mem", "much"))
	if e := report(t, err); e.Code != "22023" {
		t.Errorf("got %+v", e)
	}
	if got := stateOf(t, server.ConnInfo(), database); got != "f 5" {
		t.Errorf("the database is %q", got)
	}
}

// onlyBypasses makes a process of this test's program a worker that connects to a
// closed database. See TestMain.
const onlyBypasses = "PGEXTHOST_TEST_ONLY_BYPASSES"

func bypassingProcess() {
	_, err := connect.Initialize(context.Background(), bypassing(os.Args[1]), os.Args[2], "plain", connect.BypassAllowConn)
	fmt.Println("connected", err)
}

// killAt starts such a process, and kills it at the step.
func killAt(t *testing.T, step, conninfo, database string) {
	t.Helper()
	executable, err := os.Executable()
	check(t, err)
	p := newTap(t, step, conninfo)
	cmd := exec.CommandContext(testContext(t), executable, p.conninfo, database)
	cmd.Env = append(os.Environ(), onlyBypasses+"=1")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	check(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-p.reached:
		check(t, cmd.Process.Kill())
		<-ended
		p.hangUp()
	case err := <-ended:
		t.Fatalf("step %s was never reached: %v, %s", step, err, out.String())
	}
}

var deaths = []struct{ step, state string }{
	{"locked", "f 5"},
	{"uncommitted", "f 5"},
	{"open", "t 0 {pgexthost.bypass_allowconn=5}"},
	{"connected", "t 0 {pgexthost.bypass_allowconn=5}"},
	{"put back", "f 5"},
}

func TestADatabaseIsPutBackAfterTheDeathOfAWorkerAtAnyStep(t *testing.T) {
	for _, tt := range deaths {
		for name, repair := range map[string]func(t *testing.T, database string){
			"by the next worker": func(t *testing.T, database string) {
				t.Helper()
				conn, err := connect.Initialize(testContext(t), bypassing(server.ConnInfo()), database, "plain", connect.BypassAllowConn)
				check(t, err)
				closing(t, conn)
			},
			"by a host": func(t *testing.T, database string) {
				t.Helper()
				reports := repaired(t, server.ConnInfo())
				if tt.state == "f 5" {
					return
				}
				if len(reports) != 1 || reports[0].Level != elog.Log || reports[0].Message != `database "`+database+`" accepts no connections again` {
					t.Errorf("got %+v", reports)
				}
			},
		} {
			t.Run(tt.step+" "+name, func(t *testing.T) {
				database := closedDatabase(t, 5)
				killAt(t, tt.step, server.ConnInfo(), database)
				eventually(t, "the server to notice", func() bool {
					return query(t, open(t, server.ConnInfo(), ""), "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'") == "0"
				})
				if got := stateOf(t, server.ConnInfo(), database); got != tt.state {
					t.Errorf("left as %q, want %q", got, tt.state)
				}
				repair(t, database)
				if got := stateOf(t, server.ConnInfo(), database); got != "f 5" {
					t.Errorf("put back as %q", got)
				}
			})
		}
	}
}

func repaired(t *testing.T, conninfo string) (reports []*elog.ErrorData) {
	t.Helper()
	check(t, connect.RepairDatabases(testContext(t), open(t, conninfo, ""), func(e *elog.ErrorData) { reports = append(reports, e) }))
	return reports
}

func TestADatabaseIsPutBackAfterACrashOfTheServer(t *testing.T) {
	own, err := localpg.Start(testContext(t), localpg.Options{Populate: template.Populate})
	check(t, err)
	defer func() { _ = own.Stop(context.Background()) }()
	_, err = open(t, own.ConnInfo(), "").Exec(testContext(t), "CREATE ROLE plain")
	check(t, err)
	for _, tt := range []struct{ step, state string }{{"uncommitted", "f -1"}, {"open", "t 0 {pgexthost.bypass_allowconn=-1}"}} {
		_, err = initializeAt(testContext(t), t, tt.step, own.ConnInfo(), "template0", "", func() {
			check(t, own.Crash())
			<-own.Done()
		})
		if !connect.IsServerEvent(err) {
			t.Errorf("%s: got %v", tt.step, err)
		}
		check(t, own.Restart(testContext(t)))
		if got := stateOf(t, own.ConnInfo(), "template0"); got != tt.state {
			t.Errorf("%s: left as %q", tt.step, got)
		}
		repaired(t, own.ConnInfo())
		if got := stateOf(t, own.ConnInfo(), "template0"); got != "f -1" {
			t.Errorf("%s: put back as %q", tt.step, got)
		}
	}
}

func TestARepairLeavesAWorkerAtIt(t *testing.T) {
	database := closedDatabase(t, 5)
	_, err := initializeAt(testContext(t), t, "open", server.ConnInfo(), database, "", func() {
		if reports := repaired(t, server.ConnInfo()); len(reports) != 0 {
			t.Errorf("got %+v", reports)
		}
	})
	check(t, err)
	// With another maintenance database it cannot know; the worker copes.
	_, err = initializeAt(testContext(t), t, "open", server.ConnInfo(), database, "", func() { repaired(t, server.ConnInfo()+" dbname=other") })
	check(t, err)
	if got := stateOf(t, server.ConnInfo(), database); got != "f 5" {
		t.Errorf("the database is %q", got)
	}
}

func TestARepairThatMayNotSaysSo(t *testing.T) {
	database := closedDatabase(t, 5)
	killAt(t, "open", server.ConnInfo(), database)
	eventually(t, "the server to notice", func() bool {
		return query(t, open(t, server.ConnInfo(), ""), "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'") == "0"
	})
	reports := repaired(t, hostUser("plain"))
	if len(reports) != 1 || reports[0].Level != elog.Warning || reports[0].Code != "42501" ||
		!strings.HasPrefix(reports[0].Message, `could not put back ALLOW_CONNECTIONS false of database "`+database+`": `) {
		t.Errorf("got %+v", reports)
	}
	repaired(t, server.ConnInfo())
}

// Somebody who alters the database at the same time makes ALTER DATABASE fail
// with "tuple concurrently updated".
func TestABypassSurvivesAnAlterDatabaseAtTheSameTime(t *testing.T) {
	database := closedDatabase(t, 5)
	own, other := open(t, server.ConnInfo(), ""), open(t, server.ConnInfo(), "")
	tx, err := other.Begin(testContext(t))
	check(t, err)
	_, err = tx.Exec(testContext(t), "ALTER DATABASE "+database+" CONNECTION LIMIT 9")
	check(t, err)
	done := make(chan error)
	go func() {
		conn, err := connect.Initialize(testContext(t), bypassing(server.ConnInfo()), database, "plain", connect.BypassAllowConn)
		if err == nil {
			err = conn.Close(context.Background())
		}
		done <- err
	}()
	eventually(t, "the worker waits for the other", func() bool {
		return query(t, own, "SELECT ($1 = ANY (SELECT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity))::text", other.BackendPid()) == "true"
	})
	check(t, tx.Commit(testContext(t)))
	check(t, <-done)
	if got := stateOf(t, server.ConnInfo(), database); got != "f 9" {
		t.Errorf("the database is %q", got)
	}
}
