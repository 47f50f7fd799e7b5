package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// announceSettings makes the test's directory one in which a host has written the
// settings of its libraries.
func announceSettings(t *testing.T, settings ...setting) (change func(...setting)) {
	t.Helper()
	t.Chdir(shortTempDir(t))
	stamp := time.Now()
	change = func(settings ...setting) {
		t.Helper()
		text, err := json.Marshal(settings)
		check(t, err)
		check(t, os.WriteFile(settingsFile+".new", text, 0o600))
		stamp = stamp.Add(time.Second)
		check(t, os.Chtimes(settingsFile+".new", stamp, stamp))
		check(t, os.Rename(settingsFile+".new", settingsFile))
	}
	change(settings...)
	return change
}

// ofLibrary is a setting that a reload may change.
func ofLibrary(name, value string) setting {
	return setting{Name: name, Value: value, Definition: &guc.Definition{Name: name, Type: guc.TypeString, Context: guc.Sighup}}
}

func TestTheServerIsToldOfMoreSettingsThanAStartupPacketHolds(t *testing.T) {
	var many []setting
	for i := range 300 {
		many = append(many, ofLibrary(fmt.Sprintf("lib.setting_%03d", i), strings.Repeat("v", 40)+fmt.Sprint(i)))
	}
	announceSettings(t, many...)
	b := shared(t)
	conn := open(t, b.tcp("scrammer"))
	for i := range 300 {
		if got := one(t, conn, fmt.Sprintf("SHOW lib.setting_%03d", i)); got != many[i].Value {
			t.Fatalf("%d: got %s", i, got)
		}
	}
	// A client whose own packet is as long as can be gets in as well.
	p := b.dialUnix(t)
	rest := 10004 - len(encode(t, startupMessage(version30, "trusted", "application_name", "")))
	p.startup("trusted", "application_name", strings.Repeat("x", rest))
	until[*pgproto3.ReadyForQuery](p)
}

// What changes is told between two statements, whatever comes before and after, and
// the client sees nothing of it.
func TestAChangedSettingIsToldWithoutTheClientsNotice(t *testing.T) {
	change := announceSettings(t, ofLibrary("lib.value", "0"))
	b := shared(t)
	p := b.dial(t)
	p.login()
	// One Query is too long to be looked into, and all come at once: the server is
	// busy when the others come.
	pipeline := slicesOf(
		msg('Q', "SELECT 'long', pg_sleep(0.3) /*"+strings.Repeat("x", maxExamined)+"*/\x00"),
		msg('P', "\x00SELECT 'extended'\x00\x00\x00"), msg('B', "\x00\x00\x00\x00\x00\x00\x00\x00"), msg('E', "\x00\x00\x00\x00\x00"), msg('S', ""),
		msg('Q', "SELECT current_setting('lib.value')\x00"),
	)
	for i := 1; i <= 5; i++ {
		change(ofLibrary("lib.value", fmt.Sprint(i)))
		b.gateway.known.looked.Store(-int64(lookInterval)) // long ago
		p.raw(pipeline)
		for _, want := range []string{"long", "extended", fmt.Sprint(i)} {
			if got := onlyAnswer(t, p); got != want {
				t.Fatalf("%d: got %q, want %q", i, got, want)
			}
		}
	}
}

// onlyAnswer is the row of the next statement, of which nothing else may be heard.
func onlyAnswer(t *testing.T, p *peer) (value string) {
	t.Helper()
	for {
		switch m := p.receive().(type) {
		case *pgproto3.RowDescription, *pgproto3.ParseComplete, *pgproto3.BindComplete:
		case *pgproto3.DataRow:
			value = string(m.Values[0])
			if m, ok := p.receive().(*pgproto3.CommandComplete); !ok {
				t.Fatalf("got %T behind a row", m)
			}
			if m, ok := p.receive().(*pgproto3.ReadyForQuery); !ok {
				t.Fatalf("got %T behind a statement", m)
			}
			return value
		default:
			t.Fatalf("got %T %v", m, m)
		}
	}
}

// What comes amid the answer to a client's statement would be taken for the client's.
func TestAChangeWaitsUntilTheServerHasNothingToDo(t *testing.T) {
	w := newWire(t).client("Q")
	s := w.session
	s.told = make(map[string]string)
	s.gateway.known.latest.Store(newAnnounced([]setting{ofLibrary("lib.value", "1")}))
	s.refresh(w.pump) // to a server that there is not
	if len(s.told) > 0 {
		t.Errorf("told %v", s.told)
	}
}

// The end of the session is the client's to see, even if it comes while the gateway
// has put in a query of its own.
func TestAFatalErrorIsTheClientsEvenAmidAQueryOfOurs(t *testing.T) {
	s := &session{ended: make(chan struct{})}
	i := &injection{done: make(chan struct{})}
	for _, tt := range []struct {
		message []byte
		passOn  bool
	}{
		{msg('T', "\x00\x00"), false},
		{msg('N', "SWARNING\x00VWARNING\x00C57P02\x00\x00"), true},
		{msg('E', "SERREUR\x00VERROR\x00C42704\x00\x00"), false},
		{msg('E', "SFATAL\x00VFATAL\x00C57P01\x00\x00"), true},
	} {
		if got := s.take(i, tt.message); got != tt.passOn {
			t.Errorf("%q: %v", tt.message, got)
		}
	}
	if i.failure == nil {
		t.Error("the query is taken for successful")
	}
}

func TestASessionThatEndsAmidAChangeEnds(t *testing.T) {
	change := announceSettings(t, ofLibrary("lib.value", "0"))
	b, d := shared(t), direct(t)
	conn := open(t, b.tcp("scrammer"))
	pid := conn.PgConn().PID()
	if got := one(t, d, "SELECT pg_terminate_backend($1, 10000)::text", pid); got != "true" {
		t.Fatal(got)
	}
	change(ofLibrary("lib.value", "1"))
	if _, err := conn.Exec(context.Background(), "SELECT 1"); err == nil {
		t.Error("a session that is over works")
	}
}

// ofSession is a setting of which a session may have a value of its own.
func ofSession(name, value string) setting {
	return setting{Name: name, Value: value, Definition: &guc.Definition{Name: name, Type: guc.TypeString, Context: guc.User}}
}

// What a session has set for itself a reload does not take away; what only the
// host's files may say nobody else can.
func TestASessionsOwnSettingsStayItsOwn(t *testing.T) {
	change := announceSettings(t, ofSession("lib.own", "0"), ofSession("lib.other", "0"), ofLibrary("lib.file", "0"))
	b := shared(t)
	sets := open(t, b.tcp("scrammer"))
	_, err := sets.Exec(testContext(t), "SET lib.own = 'mine'")
	check(t, err)
	config, err := pgx.ParseConfig(b.tcp("scrammer"))
	check(t, err)
	config.RuntimeParams["lib.own"], config.RuntimeParams["lib.file"] = "mine", "mine"
	asks, err := pgx.ConnectConfig(testContext(t), config)
	check(t, err)
	defer func() { _ = asks.Close(context.Background()) }()
	config.RuntimeParams = map[string]string{"options": `-c lib.file=mine  --LIB.own=mine -c work_mem=1MB`}
	switches, err := pgx.ConnectConfig(testContext(t), config)
	check(t, err)
	defer func() { _ = switches.Close(context.Background()) }()
	const show = "SELECT concat_ws(' ', current_setting('lib.own'), current_setting('lib.other'), current_setting('lib.file'))"
	for _, conn := range []*pgx.Conn{sets, asks, switches} {
		if got := one(t, conn, show); got != "mine 0 0" {
			t.Errorf("got %s", got)
		}
	}
	change(ofSession("lib.own", "1"), ofSession("lib.other", "1"), ofLibrary("lib.file", "1"))
	for _, conn := range []*pgx.Conn{sets, asks, switches} {
		eventually(t, "the session is told", func() bool { return one(t, conn, "SHOW lib.file") == "1" })
		if got := one(t, conn, show); got != "mine 0 1" {
			t.Errorf("got %s", got)
		}
	}
	if got := one(t, open(t, b.tcp("scrammer")), show); got != "1 1 1" {
		t.Errorf("a new session: got %s", got)
	}
}

// To the server the values at the session's beginning are those to go back to.
func TestASessionThatResetsAllIsToldAgain(t *testing.T) {
	change := announceSettings(t, ofLibrary("lib.value", "0"))
	b := shared(t)
	conn := open(t, b.tcp("scrammer"))
	change(ofLibrary("lib.value", "1"))
	eventually(t, "the session is told", func() bool { return one(t, conn, "SHOW lib.value") == "1" })
	for _, reset := range []string{"RESET ALL", "DISCARD ALL"} {
		_, err := conn.Exec(testContext(t), reset)
		check(t, err)
		if got := one(t, conn, "SHOW lib.value"); got != "1" {
			t.Errorf("after %s: got %s", reset, got)
		}
	}
}

// A name that is not spelled as the library has it would otherwise be a new one.
func TestANameThatALibraryHasReservedIsRefused(t *testing.T) {
	reserved := ofLibrary("lib.value", "0")
	reserved.Reserved = true
	announceSettings(t, reserved, ofLibrary("free.value", "0"))
	conn := open(t, shared(t).tcp("scrammer"))
	for _, sql := range []string{"SET lib.valeu = '1'", "SET LOCAL LIB.valeu = '1'", "ALTER SYSTEM SET lib.valeu = '1'"} {
		expectState(t, execute(t, conn, sql), elog.InvalidName)
	}
	check(t, execute(t, conn, "SET free.valeu = '1'"))
}

func TestASettingIsFoundAmongTheOptions(t *testing.T) {
	for options, want := range map[string]string{
		"":                                   "",
		"-c lib.a=1":                         "1",
		"-clib.a=1":                          "1",
		"--lib.a=1 --lib.a=2":                "2",
		"  -c\tLIB.A=a\\ b\\\\ ":             `a b\`,
		"-c lib.b=1 -c lib.ab=2":             "",
		"-c":                                 "",
		"-d 5 -c lib.a=x=y":                  "x=y",
		"-- -c lib.a=1":                      "",
		"lib.a=1 -c work_mem=lib.a=1":        "",
		`-c search_path=-clib.a=1`:           "",
		`-c search_path=\ -clib.a=1 --a\`:    "",
		"-c lib.a= -c lib.b=1":               "",
		"-c work_mem=1MB --lib.a=\\-c\\ x=1": "-c x=1",
	} {
		s := &startup{parameters: []parameter{{"user", "u"}, {"options", options}}}
		got, given := s.setting("lib.a")
		if got != want || given != (want != "" || strings.Contains(options, "lib.a= ")) {
			t.Errorf("%q: got %q, %v", options, got, given)
		}
	}
}
