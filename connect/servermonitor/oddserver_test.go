package servermonitor

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/fakeserver"
	"github.com/pgexthost/pgexthost/shmem"
)

const (
	gib      = "\x3f\xff\xff\xff" // a length just below what pgx takes by itself
	nonsense = "received invalid response from the server"
	odd      = "server sent an unexpected answer"
	closed   = "server closed the connection unexpectedly"
)

// after plays a login and then what is left of the script.
func after(script fakeserver.Script) fakeserver.Script {
	return func(c *fakeserver.Client) {
		c.Login()
		if _, ok := c.Query(); ok {
			script(c)
		}
	}
}

func raw(text string) fakeserver.Script {
	return func(c *fakeserver.Client) { c.Raw(text); c.Hang() }
}

func flood(text string) fakeserver.Script {
	return func(c *fakeserver.Client) { c.Flood(text) }
}

func answer(rows ...[]string) fakeserver.Script {
	return after(func(c *fakeserver.Client) { c.Rows(rows...); c.Hang() })
}

// oddServers are servers that no worker can work with. What becomes of a
// session with one, opening or looking, says what the monitor makes of it.
var oddServers = map[string]struct {
	script fakeserver.Script
	kind   failureKind
	state  shmem.ServerState
	reason string
}{
	// What PostgreSQL itself says.
	"starting":         {fakeserver.Refuse("57P03", "the database system is starting up"), starting, shmem.ServerStarting, "the database system is starting up"},
	"shutting down":    {fakeserver.Refuse("57P03", "the database system is shutting down"), starting, shmem.ServerStarting, "the database system is shutting down"},
	"in recovery":      {fakeserver.Refuse("57P03", "the database system is in recovery mode"), starting, shmem.ServerStarting, "the database system is in recovery mode"},
	"full":             {fakeserver.Refuse("53300", "sorry, too many clients already"), away, shmem.ServerUnreachable, "sorry, too many clients already"},
	"reserved":         {fakeserver.Refuse("53300", "remaining connection slots are reserved for roles with the SUPERUSER attribute"), away, shmem.ServerUnreachable, "remaining connection slots are reserved for roles with the SUPERUSER attribute"},
	"wrong password":   {fakeserver.Refuse("28P01", "password authentication failed"), refused, shmem.ServerUnreachable, "password authentication failed"},
	"no hba line":      {fakeserver.Refuse("28000", "no pg_hba.conf entry"), refused, shmem.ServerUnreachable, "no pg_hba.conf entry"},
	"no database":      {fakeserver.Refuse("3D000", "database \"x\" does not exist"), refused, shmem.ServerUnreachable, "database \"x\" does not exist"},
	"terminates":       {fakeserver.Refuse("57P01", "terminating"), away, shmem.ServerUnreachable, "terminating"},
	"crashes":          {fakeserver.Refuse("57P02", "crash of another"), away, shmem.ServerUnreachable, "crash of another"},
	"terminates later": {after(fakeserver.Refuse("57P01", "terminating")), away, shmem.ServerUnreachable, "terminating"},
	"crashes later":    {after(fakeserver.Refuse("57P02", "crash of another")), away, shmem.ServerUnreachable, "crash of another"},
	"too old":          {func(c *fakeserver.Client) { c.WelcomeTo("13.22 (Debian)"); c.Hang() }, refused, shmem.ServerUnreachable, "server version 13.22 (Debian) is not supported"},
	"denies the question": {
		after(func(c *fakeserver.Client) {
			c.Error("42501", "permission denied for function pg_postmaster_start_time")
			c.Hang()
		}),
		refused, shmem.ServerUnreachable, "permission denied for function pg_postmaster_start_time",
	},
	// A pooler.
	"pooler": {fakeserver.Refuse("08P01", "unsupported startup parameter: statement_timeout"), refused, shmem.ServerUnreachable, "unsupported startup parameter: statement_timeout"},
	// Silence.
	"hangs":                          {(*fakeserver.Client).Hang, away, shmem.ServerUnreachable, "timeout expired"},
	"hangs in authentication":        {raw("R\x00\x00\x00\x0c\x00\x00\x00\x05salt"), away, shmem.ServerUnreachable, "timeout expired"},
	"hangs after the login":          {func(c *fakeserver.Client) { c.Welcome(); c.Hang() }, away, shmem.ServerUnreachable, "timeout expired"},
	"hangs in a header":              {raw("E\x00\x00"), away, shmem.ServerUnreachable, "timeout expired"},
	"hangs at the question":          {after((*fakeserver.Client).Hang), away, shmem.ServerUnreachable, "server does not answer"},
	"hangs in the answer":            {after(func(c *fakeserver.Client) { c.Columns(2); c.Hang() }), away, shmem.ServerUnreachable, "server does not answer"},
	"hangs in a message":             {after(raw("D\x00\x00\x00\x40\x00\x02")), away, shmem.ServerUnreachable, "server does not answer"},
	"hangs with the answer complete": {after(func(c *fakeserver.Client) { c.Columns(2); c.Raw("C\x00\x00\x00\x0dSELECT 1\x00"); c.Hang() }), away, shmem.ServerUnreachable, "server does not answer"},
	// The end.
	"closes":                 {func(*fakeserver.Client) {}, away, shmem.ServerUnreachable, closed},
	"closes after the login": {(*fakeserver.Client).Welcome, away, shmem.ServerUnreachable, closed},
	"closes at the question": {after(func(*fakeserver.Client) {}), away, shmem.ServerUnreachable, closed},
	"closes in a header":     {func(c *fakeserver.Client) { c.Raw("E\x00\x00") }, away, shmem.ServerUnreachable, closed},
	"closes in the answer":   {after(func(c *fakeserver.Client) { c.Columns(2); c.Raw("D\x00\x00\x00\x40\x00\x02") }), away, shmem.ServerUnreachable, closed},
	"resets":                 {(*fakeserver.Client).Reset, away, shmem.ServerUnreachable, closed},
	"resets in the answer":   {after(func(c *fakeserver.Client) { c.Columns(2); c.Reset() }), away, shmem.ServerUnreachable, closed},
	// Not PostgreSQL, or broken.
	"SSH":                     {raw("SSH-2.0-OpenSSH_9.2\r\n"), refused, shmem.ServerUnreachable, nonsense},
	"HTTP":                    {raw("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), refused, shmem.ServerUnreachable, nonsense},
	"a TLS alert":             {raw("\x15\x03\x01\x00\x02\x02\x28"), refused, shmem.ServerUnreachable, nonsense},
	"zeros":                   {raw(strings.Repeat("\x00", 100)), refused, shmem.ServerUnreachable, nonsense},
	"a negative length":       {raw("R\xff\xff\xff\xff\x00\x00\x00\x00"), refused, shmem.ServerUnreachable, nonsense},
	"a huge length":           {raw("R" + gib), refused, shmem.ServerUnreachable, nonsense},
	"the largest length":      {raw("S\x7f\xff\xff\xff"), refused, shmem.ServerUnreachable, nonsense},
	"a length too short":      {raw("R\x00\x00\x00\x04"), refused, shmem.ServerUnreachable, nonsense},
	"unknown authentication":  {raw("R\x00\x00\x00\x08\x00\x00\x00\x63"), refused, shmem.ServerUnreachable, nonsense},
	"ready before its time":   {raw("Z\x00\x00\x00\x05I"), refused, shmem.ServerUnreachable, nonsense},
	"a message out of place":  {raw("D\x00\x00\x00\x06\x00\x00"), refused, shmem.ServerUnreachable, nonsense},
	"nonsense in the answer":  {after(raw("SSH-2.0-OpenSSH_9.2\r\n")), refused, shmem.ServerUnreachable, odd},
	"a huge length in it":     {after(raw("D" + gib)), refused, shmem.ServerUnreachable, odd},
	"a negative length in it": {after(raw("D\xff\xff\xff\xff")), refused, shmem.ServerUnreachable, odd},
	"an inner length too long": {after(func(c *fakeserver.Client) {
		c.Columns(2)
		c.Raw("D\x00\x00\x00\x0b\x00\x02\x00\x00\x00\xffx")
		c.Hang()
	}), refused, shmem.ServerUnreachable, odd},
	// No end.
	"endless notices":             {flood("N\x00\x00\x00\x0dSNOTICE\x00\x00"), refused, shmem.ServerUnreachable, nonsense},
	"endless parameters":          {flood("S\x00\x00\x00\x08a\x00b\x00"), refused, shmem.ServerUnreachable, nonsense},
	"endless notices at login":    {func(c *fakeserver.Client) { c.Welcome(); c.Flood("N\x00\x00\x00\x0dSNOTICE\x00\x00") }, refused, shmem.ServerUnreachable, odd},
	"endless notices in it":       {after(flood("N\x00\x00\x00\x0dSNOTICE\x00\x00")), refused, shmem.ServerUnreachable, odd},
	"endless notifications in it": {after(flood("A\x00\x00\x00\x0c\x00\x00\x00\x01a\x00b\x00")), refused, shmem.ServerUnreachable, odd},
	"endless rows":                {after(func(c *fakeserver.Client) { c.Columns(1); c.Flood("D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x01t") }), refused, shmem.ServerUnreachable, odd},
	"endless answers":             {after(flood("I\x00\x00\x00\x04")), refused, shmem.ServerUnreachable, odd},
	// Another kind of answer.
	"says yesterday":    {answer([]string{"f", "yesterday"}), refused, shmem.ServerUnreachable, odd},
	"says maybe":        {answer([]string{"maybe", "1700000000123456"}), refused, shmem.ServerUnreachable, odd},
	"says null":         {answer([]string{fakeserver.Null, "1700000000123456"}), refused, shmem.ServerUnreachable, odd},
	"says no time":      {answer([]string{"f", fakeserver.Null}), refused, shmem.ServerUnreachable, odd},
	"says nothing":      {answer(), refused, shmem.ServerUnreachable, odd},
	"an empty row":      {answer([]string{}), refused, shmem.ServerUnreachable, odd},
	"one column":        {answer([]string{"f"}), refused, shmem.ServerUnreachable, odd},
	"three columns":     {answer([]string{"f", "1700000000123456", "x"}), refused, shmem.ServerUnreachable, odd},
	"two rows":          {answer([]string{"f", "1700000000123456"}, []string{"f", "1700000000123456"}), refused, shmem.ServerUnreachable, odd},
	"an empty query":    {after(raw("I\x00\x00\x00\x04Z\x00\x00\x00\x05I")), refused, shmem.ServerUnreachable, odd},
	"an empty greeting": {func(c *fakeserver.Client) { c.Welcome(); _, _ = c.Query(); c.Rows([]string{}); c.Hang() }, refused, shmem.ServerUnreachable, odd},
	"a greeting of its own": {
		func(c *fakeserver.Client) { c.Welcome(); _, _ = c.Query(); c.Row("hello"); c.Hang() }, refused, shmem.ServerUnreachable, odd,
	},
}

// lookAt opens a session and asks it once.
func lookAt(conninfo string, limit time.Duration) (Facts, error) {
	s, err := Prober{AnswerLimit: limit}.Open(context.Background(), conninfo)
	if err != nil {
		return Facts{}, err
	}
	defer s.Close()
	return s.Look(context.Background())
}

func TestWhatAnOddServerIsTakenFor(t *testing.T) {
	for name, tt := range oddServers {
		for network, start := range map[string]func(fakeserver.TB, ...fakeserver.Script) *fakeserver.Server{
			"unix": fakeserver.Start, "tcp": fakeserver.StartTCP,
		} {
			t.Run(name+"/"+network, func(t *testing.T) {
				t.Parallel()
				if network == "unix" && strings.HasPrefix(name, "resets") {
					t.Skip("a unix socket has no reset")
				}
				limit := patience
				if strings.HasPrefix(name, "hangs") {
					limit = shortly
				}
				facts, err := lookAt(start(t, tt.script).Conninfo(), limit)
				if err == nil {
					t.Fatalf("got %+v", facts)
				}
				if f := classify(err); f.kind != tt.kind || f.state != tt.state || f.reason != tt.reason {
					t.Errorf("got %+v", f)
				}
			})
		}
	}
}

func TestOddVersionsAreTakenAsTheyAre(t *testing.T) {
	for _, version := range []string{"", "15.2-YB-2.21.0.0-b0", "16beta1", "Postgres Pro 17", "99999999999999999999"} {
		server := fakeserver.NewPostgres(false)
		fake := fakeserver.Start(t, func(c *fakeserver.Client) { server.ServeAs(c, version) })
		if facts, err := lookAt(fake.Conninfo(), patience); err != nil || facts.Version != version {
			t.Errorf("%q: got %+v, %v", version, facts, err)
		}
	}
}
