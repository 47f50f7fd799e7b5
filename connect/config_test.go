package connect

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// clearEnvironment makes a test independent of the PG variables around it.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
}

func TestConninfoForms(t *testing.T) {
	clearEnvironment(t)
	for _, tt := range []struct{ conninfo, host, user, database string }{
		{"host=h user=u dbname=d", "h", "u", "d"},
		{"host=h user=u", "h", "u", "postgres"},
		{"host=h user=u dbname=", "h", "u", "postgres"},
		{"user=u host=h\\", "h", "u", "postgres"},
		{"user=u host=h application_name=", "h", "u", "postgres"},
		{`user=u host='h' dbname='it\'s'`, "h", "u", "it's"},
		{"postgres://u@h/d", "h", "u", "d"},
		{"postgresql://u@h", "h", "u", "postgres"},
		{"postgresql://u@h/", "h", "u", "postgres"},
		{"postgresql://u@h?", "h", "u", "postgres"},
		{"postgresql://u@h?sslmode=disable", "h", "u", "postgres"},
		{"postgresql://u:p?ss@h/?sslmode=disable&", "h", "u", "postgres"},
		{"postgresql://u:p?ss@h", "h", "u", "postgres"},
	} {
		c, err := ParseConninfo(tt.conninfo)
		if err != nil {
			t.Errorf("%q: %v", tt.conninfo, err)
			continue
		}
		if c.pgx.Host != tt.host || c.User() != tt.user || c.Database() != tt.database {
			t.Errorf("%q: got host %q, user %q, database %q", tt.conninfo, c.pgx.Host, c.User(), c.Database())
		}
		for _, name := range []string{"x", `it's \odd &?=%`, "größe"} {
			other, err := c.forDatabase(name)
			if err != nil || other.Database() != name || other.pgx.Host != tt.host || other.User() != tt.user {
				t.Errorf("%q for database %q: got %+v, %v", tt.conninfo, name, other, err)
			}
		}
	}
}

func TestConninfoTakesWhatItDoesNotSayFromEnvironmentAndServiceFile(t *testing.T) {
	clearEnvironment(t)
	service := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(service, []byte("[mine]\nhost=sh\ndbname=sd\nuser=su\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", service)
	t.Setenv("PGUSER", "eu")
	t.Setenv("PGDATABASE", "ed")
	for conninfo, want := range map[string]string{
		"":                         "eu ed",
		"dbname=x":                 "eu x",
		"service=mine":             "su sd",
		"service=mine dbname=x":    "su x",
		"postgresql://?user=other": "other ed",
	} {
		c, err := ParseConninfo(conninfo)
		if err != nil {
			t.Errorf("%q: %v", conninfo, err)
		} else if got := c.User() + " " + c.Database(); got != want {
			t.Errorf("%q: got %q, want %q", conninfo, got, want)
		}
	}
}

func TestPasswordFileIsSearchedForTheDatabaseInUse(t *testing.T) {
	clearEnvironment(t)
	passfile := filepath.Join(t.TempDir(), "pgpass")
	lines := "h:5432:postgres:u:for postgres\nh:5432:d:u:for d\n"
	if err := os.WriteFile(passfile, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ParseConninfo("host=h user=u passfile=" + passfile)
	if err != nil || c.pgx.Password != "for postgres" {
		t.Fatalf("got %v, %v", c, err)
	}
	other, err := c.forDatabase("d")
	if err != nil || other.pgx.Password != "for d" {
		t.Errorf("got password %q, %v", other.pgx.Password, err)
	}
}

func TestParametersThatPgxWouldSendAsSettingsAreRefused(t *testing.T) {
	clearEnvironment(t)
	for _, u := range unsupported {
		for _, conninfo := range []string{u.keyword + "=1", "postgresql://h/?" + u.keyword + "=1"} {
			_, err := ParseConninfo(conninfo)
			var e *elog.ErrorData
			if !errors.As(err, &e) || e.Code != elog.InvalidParameterValue || !strings.Contains(e.Message, `"`+u.keyword+`"`) || e.Hint == "" {
				t.Errorf("%q: got %+v", conninfo, err)
			}
		}
	}
}

// What pgx would send to the server as a setting, libpq calls invalid: a password
// under a misspelt name is one.
func TestUnknownParametersAreRefusedWithoutTheirValues(t *testing.T) {
	clearEnvironment(t)
	for _, conninfo := range []string{"passwrd=secret host=h", "postgresql://h/?passwrd=secret"} {
		_, err := ParseConninfo(conninfo)
		var e *elog.ErrorData
		if !errors.As(err, &e) || e.Code != elog.InvalidParameterValue || e.Message != `invalid connection option "passwrd"` || strings.Contains(e.Detail+e.Hint, "secret") {
			t.Errorf("%q: got %+v", conninfo, err)
		}
	}
	for _, conninfo := range []string{"options='-c search_path=x' application_name=a client_encoding=UTF8", "postgresql://h/?options=-c%20search_path%3Dx"} {
		if _, err := ParseConninfo(conninfo); err != nil {
			t.Errorf("%q: %v", conninfo, err)
		}
	}
}

// libpqKeywords are the connection parameters of libpq 18, less the password, as
// fe-connect.c lists them.
const libpqKeywords = `service user passfile channel_binding connect_timeout dbname host hostaddr port client_encoding options application_name
	fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout sslmode sslnegotiation sslcompression
	sslcert sslkey sslcertmode sslpassword sslrootcert sslcrl sslcrldir sslsni requirepeer require_auth ssl_min_protocol_version ssl_max_protocol_version
	min_protocol_version max_protocol_version gssencmode krbsrvname gsslib gssdelegation replication target_session_attrs load_balance_hosts
	scram_client_key scram_server_key oauth_issuer oauth_client_id oauth_client_secret oauth_scope sslkeylogfile`

// What libpq takes for itself never becomes a setting of the server, but for those
// that are meant to.
func TestNoParameterOfLibpqBecomesASetting(t *testing.T) {
	clearEnvironment(t)
	settings := map[string]bool{"application_name": true, "client_encoding": true, "options": true}
	for _, keyword := range strings.Fields(libpqKeywords) {
		value := "1"
		if keyword == "client_encoding" {
			value = "UTF8"
		}
		c, err := ParseConninfo(keyword + "=" + value)
		if err != nil {
			if elog.CodeOf(err) != elog.InvalidParameterValue || !strings.Contains(err.Error(), keyword) && !strings.Contains(err.Error(), "invalid connection string") {
				t.Errorf("%s: got %v", keyword, err)
			}
			continue
		}
		if _, sent := c.pgx.RuntimeParams[keyword]; sent != settings[keyword] {
			t.Errorf("%s: sent to the server: %v", keyword, sent)
		}
	}
}

func TestVariablesThatPgxWouldIgnoreAreRefusedUnlessHarmless(t *testing.T) {
	clearEnvironment(t)
	for _, u := range unsupported {
		if u.variable == "" {
			continue
		}
		t.Setenv(u.variable, "x")
		if _, err := ParseConninfo(""); err == nil || !strings.Contains(err.Error(), u.variable) {
			t.Errorf("%s: got %v", u.variable, err)
		}
		for _, harmless := range append(strings.Fields(u.harmless), "") {
			t.Setenv(u.variable, harmless)
			if _, err := ParseConninfo(""); err != nil {
				t.Errorf("%s=%s: %v", u.variable, harmless, err)
			}
		}
	}
}

func TestClientEncodingOtherThanUTF8IsRefused(t *testing.T) {
	clearEnvironment(t)
	for encoding, want := range map[string]bool{"UTF8": true, "utf-8": true, "'UTF8'": true, "latin1": false, "auto": false} {
		if _, err := ParseConninfo("client_encoding=" + encoding); (err == nil) != want {
			t.Errorf("%s: got %v", encoding, err)
		}
	}
}

func TestNoErrorOfAConninfoShowsItsPassword(t *testing.T) {
	clearEnvironment(t)
	for _, conninfo := range []string{
		"password=hu nter2 host=h",
		"host=h password='hunter2",
		"password=hunter2 port=none",
		"host=h password=hunter2 sslmode=none",
		"password=hunter2 hostaddr=1",
		"password='x' hunter2",
		"postgres://u:hunter2@h:port/",
		"postgres://u:hunt%er2@h/",
		"postgres://u:a/hunter2@h?x",
		"postgres://u:a:hunter2",
		"postgres://u:a@hunter2@h/",
		"postgres://u:a@hunter2@h,i/",
		"postgres://h?password=hunter2&x",
		"postgres://h?password=hunter2&target_session_attrs=none",
		"postgres://h?password=hun ter2",
		"postgres://u:p=hunter2@[",
	} {
		_, err := ParseConninfo(conninfo)
		if err == nil {
			t.Errorf("%q was accepted", conninfo)
			continue
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			e := elog.AsErrorData(e, elog.Error)
			for _, secret := range []string{"hunter2", "nter2", "ter2", "er2"} {
				if strings.Contains(e.Message+e.Detail+e.Hint, secret) {
					t.Errorf("%q: got %+v", conninfo, e)
				}
			}
		}
	}
}

func TestSettingsGivenInOptionsAreSeen(t *testing.T) {
	for options, want := range map[string]string{
		"":                                     "",
		"-c statement_timeout=1":               "statement_timeout",
		"-cstatement_timeout=1":                "statement_timeout",
		"--statement-timeout=1":                "statement_timeout",
		"-c Statement_Timeout=1":               "statement_timeout",
		`-c application_name=a\ b --jit=off`:   "application_name jit",
		"-c geqo=off -c statement_timeout=1s ": "geqo statement_timeout",
		"-d 5":                                 "",
		"-c":                                   "",
	} {
		given := givenSettings(map[string]string{"options": options})
		delete(given, "options")
		for _, name := range strings.Fields(want) {
			if !given[name] {
				t.Errorf("%q: %s was not seen", options, name)
			}
		}
		if len(given) != len(strings.Fields(want)) {
			t.Errorf("%q: got %v", options, given)
		}
	}
}

func TestApplicationNameIsCutBetweenCharacters(t *testing.T) {
	long := strings.Repeat("x", 62)
	for name, want := range map[string]string{
		"short": "short", long + "y": long + "y", long + "yz": long + "y", long + "ö": long, long + "yö": long + "y",
	} {
		if got := truncateName(name); got != want {
			t.Errorf("%q: got %q", name, got)
		}
	}
}
