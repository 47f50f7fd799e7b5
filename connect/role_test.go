package connect_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// bothWays opens a worker's session by name and by OID, as a test of its own each.
func bothWays(t *testing.T, w func() *fakeWorker, database, role string, flags connect.Flags, verify func(t *testing.T, conn *connect.Conn, err error)) {
	t.Helper()
	t.Run("by name", func(t *testing.T) {
		conn, err := connect.Initialize(testContext(t), w(), database, role, flags)
		verify(t, closing(t, conn), err)
	})
	t.Run("by OID", func(t *testing.T) {
		own := open(t, server.ConnInfo(), "")
		oid := func(sql, name string) uint32 {
			if name == "" {
				return 0
			}
			n, err := strconv.ParseUint(query(t, own, "SELECT coalesce(("+sql+"), '4294967295')", name), 10, 32)
			check(t, err)
			return uint32(n)
		}
		dboid, roleoid := oid("SELECT oid::text FROM pg_database WHERE datname = $1", database), oid("SELECT oid::text FROM pg_roles WHERE rolname = $1", role)
		conn, err := connect.InitializeByOID(testContext(t), w(), dboid, roleoid, flags)
		verify(t, closing(t, conn), err)
	})
}

func closing(t *testing.T, conn *connect.Conn) *connect.Conn {
	t.Helper()
	if conn != nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	return conn
}

const (
	superuser = "" // the user of the test server's settings
	bypass    = connect.BypassRoleLoginCheck
)

// asOther are the ways to be another role than the one that has logged in.
var asOther = map[string]struct {
	host, database, role string
	flags                connect.Flags
	session              string // session_user; the current user is the role
	current              string // unless it is this one
}{
	"superuser as role":                       {superuser, "", "plain", 0, "plain", ""},
	"superuser as role, other database":       {superuser, "other", "plain", 0, "plain", ""},
	"superuser as role with an odd name":      {superuser, "it's \\odd", `odd \ 'role' "x`, 0, `odd \ 'role' "x`, ""},
	"superuser as role without login":         {superuser, "other", "nologin", bypass, "nologin", ""},
	"superuser as role with login, bypassing": {superuser, "other", "plain", bypass, "plain", ""},
	"superuser as superuser":                  {superuser, "private", "chief", 0, "chief", ""},
	"superuser as one who may connect":        {superuser, "private", "insider", 0, "insider", ""},
	"superuser as role with a role":           {superuser, "other", "masked", 0, "masked", "plain"},
	"limits count for clients only":           {superuser, "other", "full", 0, "full", ""},
	"member as role":                          {"member", "other", "plain", 0, "member", ""},
	"member as role with an odd name":         {"member", "", `odd \ 'role' "x`, 0, "member", ""},
	"member as role without login":            {"member", "other", "nologin", bypass, "member", ""},
	"member as superuser":                     {"member", "other", "chief", 0, "member", ""},
	"member as role with a role":              {"member", "", "masked", 0, "member", "plain"},
	"member with the right by inheritance":    {"member", "private", "insider", 0, "member", ""},
}

func hostUser(name string) string {
	if name == superuser {
		return server.ConnInfo()
	}
	return server.ConnInfo() + " user=" + name
}

func TestAWorkerIsTheRoleItAsksFor(t *testing.T) {
	for name, tt := range asOther {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func() *fakeWorker { return newWorker(hostUser(tt.host)) }, tt.database, tt.role, tt.flags, func(t *testing.T, conn *connect.Conn, err error) {
				check(t, err)
				if conn.User() != tt.role {
					t.Errorf("User: got %q", conn.User())
				}
				if got := query(t, conn, fmt.Sprintf("SELECT rolname FROM pg_catalog.pg_roles WHERE oid OPERATOR(pg_catalog.=) %d", conn.RoleOID())); got != tt.role {
					t.Errorf("RoleOID: got that of %q", got)
				}
				current := tt.role
				if tt.current != "" {
					current = tt.current
				}
				if got := query(t, conn, "SELECT current_user"); got != current {
					t.Errorf("current user: got %q", got)
				}
				if got := query(t, conn, "SELECT session_user"); got != tt.session {
					t.Errorf("session user: got %q", got)
				}
				if got := query(t, conn, "SELECT current_database()"); tt.database != "" && got != tt.database {
					t.Errorf("database: got %q", got)
				}
			})
		})
	}
}

func TestRefusalsOfAnotherRole(t *testing.T) {
	for name, tt := range map[string]struct {
		host, database, role string
		flags                connect.Flags
		code                 elog.SQLState
		message, byOID       string
		detail, hint         string
	}{
		"no such role":                     {superuser, "other", "nobody", 0, "28000", `role "nobody" does not exist`, "role with OID 4294967295 does not exist", "", ""},
		"no such role, bypassing":          {superuser, "other", "nobody", bypass, "28000", `role "nobody" does not exist`, "role with OID 4294967295 does not exist", "", ""},
		"no such role, to a member":        {"member", "other", "nobody", 0, "28000", `role "nobody" does not exist`, "role with OID 4294967295 does not exist", "", ""},
		"no login":                         {superuser, "other", "nologin", 0, "28000", `role "nologin" is not permitted to log in`, "", "", ""},
		"no login, to a member":            {"member", "", "nologin", 0, "28000", `role "nologin" is not permitted to log in`, "", "", ""},
		"no login, to nobody in it":        {"plain", "", "nologin", 0, "28000", `role "nologin" is not permitted to log in`, "", "", ""},
		"the role before the database":     {superuser, "closed", "nologin", 0, "28000", `role "nologin" is not permitted to log in`, "", "", ""},
		"no such role before the database": {superuser, "nowhere", "nobody", 0, "28000", `role "nobody" does not exist`, "role with OID 4294967295 does not exist", "", ""},
		"no such database":                 {superuser, "nowhere", "plain", 0, "3D000", `database "nowhere" does not exist`, "database 4294967295 does not exist", "", ""},
		"closed database":                  {superuser, "closed", "plain", 0, "55000", `database "closed" is not currently accepting connections`, "", "", ""},
		"no CONNECT": {superuser, "private", "plain", 0, "42501", `permission denied for database "private"`, "",
			"User does not have CONNECT privilege.", ""},
		"no CONNECT, bypassing the login": {superuser, "private", "nologin", bypass, "42501", `permission denied for database "private"`, "",
			"User does not have CONNECT privilege.", ""},
		"no CONNECT of the host's user": {"outsider", "private", "insider", 0, "42501", `permission denied for database "private"`, "",
			"User does not have CONNECT privilege.", `The host logs in as "outsider", which needs that privilege, too.`},
		"neither superuser nor member": {"plain", "other", "insider", 0, "42501", `permission denied to set role "insider"`, "",
			`The host logs in as "plain", which is neither a superuser nor a member of that role who may SET ROLE.`,
			`GRANT "insider" TO "plain", or put a line for that role into the host's password file.`},
		"nor does the flag help": {"plain", "other", "nologin", bypass, "42501", `permission denied to set role "nologin"`, "",
			`The host logs in as "plain", which is neither a superuser nor a member of that role who may SET ROLE.`,
			`GRANT "nologin" TO "plain", or put a line for that role into the host's password file.`},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func() *fakeWorker { return newWorker(hostUser(tt.host)) }, tt.database, tt.role, tt.flags, func(t *testing.T, _ *connect.Conn, err error) {
				want := tt.message
				if tt.byOID != "" && strings.HasSuffix(t.Name(), "by_OID") {
					want = tt.byOID
				}
				e := report(t, err)
				if e.Level != elog.Fatal || e.Code != tt.code || e.Message != want || e.Hint != tt.hint || tt.detail != "" && e.Detail != tt.detail {
					t.Errorf("got %v %s %q, DETAIL %q, HINT %q", e.Level, e.Code, e.Message, e.Detail, e.Hint)
				}
			})
		})
	}
}

func TestNoSessionIsLeftBehindByARefusal(t *testing.T) {
	own := open(t, server.ConnInfo(), "")
	for _, role := range []string{"nobody", "nologin", "insider"} {
		w := func() *fakeWorker {
			w := newWorker(hostUser("plain"))
			w.name = "refused role"
			return w
		}
		bothWays(t, w, "other", role, 0, func(t *testing.T, _ *connect.Conn, err error) {
			if err == nil {
				t.Error("it is not refused")
			}
			eventually(t, "the session is closed", func() bool {
				return query(t, own, "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'refused role'") == "0"
			})
		})
	}
}

const showSettings = `SELECT pg_catalog.concat_ws(' ', pg_catalog.current_setting('work_mem'), pg_catalog.current_setting('maintenance_work_mem'),
	pg_catalog.current_setting('log_min_duration_statement'), pg_catalog.current_setting('statement_timeout'), pg_catalog.current_setting('lock_timeout'),
	pg_catalog.current_setting('extra_float_digits'), pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('application_name'))`

// What a login of the role would bring is what a real worker would have.
func TestSettingsOfTheRoleComeAlong(t *testing.T) {
	for name, tt := range map[string]struct {
		host string
		opts []connect.Option
		want string
	}{
		"superuser":         {superuser, nil, "9MB 17MB 5s 0 4min 2 UTF8 tester"},
		"member":            {"member", nil, "9MB 17MB -1 0 4min 2 UTF8 tester"}, // it may not set log_min_duration_statement
		"kept timeouts":     {superuser, []connect.Option{connect.KeepTimeouts()}, "9MB 17MB 5s 3min 4min 2 UTF8 tester"},
		"plugin's own":      {superuser, []connect.Option{connect.WithSetting("Work_Mem", "11MB")}, "11MB 17MB 5s 0 4min 2 UTF8 tester"},
		"in conninfo":       {superuser + "postgres options='-c work_mem=12MB'", nil, "12MB 17MB 5s 0 4min 2 UTF8 tester"},
		"a login by itself": {"settled", nil, "9MB 17MB 5s 0 4min 2 UTF8 tester"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorker(hostUser(tt.host))
			conn, err := connect.Initialize(testContext(t), w, "other", "settled", 0, tt.opts...)
			check(t, err)
			closing(t, conn)
			if got := query(t, conn, showSettings); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got := query(t, conn, "SHOW search_path"); got != `evil, "$user", pg_catalog` {
				t.Errorf("search_path: got %s", got)
			}
		})
	}
}

func TestASettingThatCannotBeAppliedIsAWarning(t *testing.T) {
	w := newWorker(hostUser("member"))
	conn, err := connect.Initialize(testContext(t), w, "other", "settled", 0)
	check(t, err)
	closing(t, conn)
	if len(w.reports) != 1 {
		t.Fatalf("got %v", w.reports)
	}
	if e := w.reports[0]; e.Level != elog.Warning || e.Code != "42501" || e.Message != `permission denied to set parameter "log_min_duration_statement"` ||
		e.Context != `settings of role "settled"` {
		t.Errorf("got %+v", e)
	}
}

// A role, and the owner of a database, may have their own operators found before
// PostgreSQL's; they must not run with the rights of the host's user.
func TestOperatorsOfOthersDoNotRunAsTheHostsUser(t *testing.T) {
	for name, tt := range map[string]struct {
		role, setting, victim string
	}{
		"of the role":                {"settled", "RESET work_mem", "settled"}, // it has one already
		"of the owner of a database": {"plain", `SET search_path = evil, "$user", pg_catalog`, "plain"},
		"the host's own user":        {superuser, `SET search_path = evil, "$user", pg_catalog`, "postgres"},
	} {
		t.Run(name, func(t *testing.T) {
			own := open(t, server.ConnInfo(), "")
			for _, sql := range []string{"DROP DATABASE IF EXISTS trap", "CREATE DATABASE trap", "ALTER DATABASE trap " + tt.setting} {
				_, err := own.Exec(testContext(t), sql)
				check(t, err)
			}
			setTrap(t)
			w := newWorker(server.ConnInfo())
			conn, err := connect.Initialize(testContext(t), w, "trap", tt.role, 0)
			check(t, err)
			const victims = "SELECT coalesce(pg_catalog.string_agg(DISTINCT who, ','), '') FROM evil.victims"
			if got := query(t, conn, victims); got != "" {
				t.Errorf("the operators have run as %s", got)
			}
			_, err = conn.Exec(testContext(t), "SELECT FROM pg_database WHERE datname = current_database()")
			check(t, err)
			if got := query(t, conn, victims); got != tt.victim {
				t.Errorf("the trap does not work: %q", got)
			}
			check(t, conn.Close(testContext(t)))
		})
	}
}

// setTrap makes operators in the database trap that tell who runs them.
func setTrap(t *testing.T) {
	t.Helper()
	conn := open(t, server.ConnInfo()+" options='-c search_path=public'", "trap")
	statements := []string{"CREATE SCHEMA evil", "GRANT USAGE ON SCHEMA evil TO PUBLIC", "CREATE TABLE evil.victims (who name)", "GRANT ALL ON evil.victims TO PUBLIC"}
	for _, op := range []struct{ name, left, right string }{
		{"=", "name", "name"}, {"=", "oid", "oid"}, {"<>", "oid", "oid"}, {"=", "oid", "int4"}, {"<>", "oid", "int4"}, {">=", "int4", "int4"}, {"~~", "text", "text"}, {"=", "name", "text"},
	} {
		statements = append(statements,
			fmt.Sprintf("CREATE FUNCTION evil.f(%[1]s, %[2]s) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN INSERT INTO evil.victims VALUES (current_user); RETURN $1::text OPERATOR(pg_catalog.%[3]s) $2::text; END'",
				op.left, op.right, op.name),
			fmt.Sprintf("CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.f)", op.name, op.left, op.right))
	}
	for _, sql := range statements {
		_, err := conn.Exec(testContext(t), strings.Replace(sql, "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
		check(t, err)
	}
	check(t, conn.Close(testContext(t)))
}

// A password file may hold a login of the role's own. The host's user need have
// no right to the role then.
func TestALineOfThePasswordFileIsALoginOfTheRole(t *testing.T) {
	for name, tt := range map[string]struct {
		lines, service string
		flags          connect.Flags
		session        string // session_user, or a SQLSTATE
	}{
		"a line for the role":           {"localhost:*:*:secretive:S3cr3t", "", 0, "secretive"},
		"before one for all":            {"localhost:*:*:secretive:S3cr3t\n*:*:*:*:wrong", "", 0, "secretive"},
		"for that database":             {"localhost:*:other:secretive:S3cr3t\n*:*:*:secretive:wrong", "", 0, "secretive"},
		"for another database":          {"localhost:*:postgres:secretive:S3cr3t", "", 0, "42501"},
		"for another server":            {"elsewhere:*:*:secretive:S3cr3t", "", 0, "42501"},
		"for all users":                 {"localhost:*:*:*:S3cr3t", "", 0, "42501"},
		"a wrong one":                   {"localhost:*:*:secretive:wrong", "", 0, "28P01"},
		"none":                          {"", "", 0, "42501"},
		"flags need the host's login":   {"localhost:*:*:secretive:S3cr3t", "", bypass, "42501"},
		"a section of the service file": {"", "[a]\nhost=HOST\nport=PORT\nuser=secretive\npassword=S3cr3t", 0, "secretive"},
		"of another server":             {"", "[a]\nhost=elsewhere\nport=PORT\nuser=secretive\npassword=S3cr3t", 0, "42501"},
		"of another user":               {"", "[a]\nhost=HOST\nport=PORT\nuser=plain\npassword=S3cr3t", 0, "42501"},
		"of another database":           {"", "[a]\nhost=HOST\nport=PORT\nuser=secretive\ndbname=x\npassword=S3cr3t", 0, "42501"},
		"unreadable":                    {"", "nonsense", 0, "42501"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			check(t, os.WriteFile(filepath.Join(dir, "pgpass"), []byte(tt.lines), 0o600))
			service := strings.NewReplacer("HOST", server.Dir(), "PORT", strconv.Itoa(server.Port())).Replace(tt.service)
			check(t, os.WriteFile(filepath.Join(dir, "services"), []byte(service), 0o600))
			t.Setenv("PGSERVICEFILE", filepath.Join(dir, "services"))
			t.Setenv("PGPASSWORD", "S3cr3t") // that of the host's user, whatever it is
			conninfo := hostUser("plain") + " password=S3cr3t passfile=" + filepath.Join(dir, "pgpass")
			bothWays(t, func() *fakeWorker { return newWorker(conninfo) }, "other", "secretive", tt.flags, func(t *testing.T, conn *connect.Conn, err error) {
				if len(tt.session) == 5 {
					if e := report(t, err); e.Code != elog.SQLState(tt.session) || strings.Contains(e.Error()+e.Hint, "S3cr3t") {
						t.Errorf("got %s %q", e.Code, e.Message)
					}
					return
				}
				check(t, err)
				if got := query(t, conn, "SELECT session_user"); got != tt.session || conn.User() != got {
					t.Errorf("got %q, %q", got, conn.User())
				}
			})
		})
	}
}

func TestResettingTheRoleLeadsBackToTheHostsUser(t *testing.T) {
	for host, sql := range map[string]string{superuser: "DISCARD ALL", "member": "RESET ROLE"} {
		conn, err := connect.Initialize(testContext(t), newWorker(hostUser(host)), "", "plain", 0)
		check(t, err)
		closing(t, conn)
		login := query(t, conn, "SELECT usename::text FROM pg_stat_activity WHERE pid = pg_backend_pid()")
		_, err = conn.Exec(testContext(t), sql)
		check(t, err)
		if got := query(t, conn, "SELECT current_user"); got != login || got == "plain" {
			t.Errorf("%s: got %q, logged in as %q", sql, got, login)
		}
	}
}
