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
	nonsense = "received invalid response from the server"
	odd      = "server sent an unexpected answer"
	closed   = "server closed the connection unexpectedly"
)

// oddServers say what the monitor makes of each of fakeserver's oddities, be it
// in opening a session or in the look that follows.
var oddServers = map[string]struct {
	kind   failureKind
	state  shmem.ServerState
	reason string
}{
	// What PostgreSQL itself says.
	"starting":            {starting, shmem.ServerStarting, "the database system is starting up"},
	"shutting down":       {starting, shmem.ServerStarting, "the database system is shutting down"},
	"in recovery":         {starting, shmem.ServerStarting, "the database system is in recovery mode"},
	"full":                {away, shmem.ServerUnreachable, "sorry, too many clients already"},
	"reserved":            {away, shmem.ServerUnreachable, "remaining connection slots are reserved for roles with the SUPERUSER attribute"},
	"wrong password":      {refused, shmem.ServerUnreachable, "password authentication failed"},
	"no hba line":         {refused, shmem.ServerUnreachable, "no pg_hba.conf entry"},
	"no database":         {refused, shmem.ServerUnreachable, "database \"x\" does not exist"},
	"terminates":          {away, shmem.ServerUnreachable, "terminating"},
	"crashes":             {away, shmem.ServerUnreachable, "crash of another"},
	"terminates later":    {away, shmem.ServerUnreachable, "terminating"},
	"crashes later":       {away, shmem.ServerUnreachable, "crash of another"},
	"too old":             {refused, shmem.ServerUnreachable, "server version 13.22 (Debian) is not supported"},
	"denies the question": {refused, shmem.ServerUnreachable, "permission denied for function pg_postmaster_start_time"},
	// A pooler.
	"pooler": {refused, shmem.ServerUnreachable, "unsupported startup parameter: statement_timeout"},
	// Silence.
	"hangs":                          {away, shmem.ServerUnreachable, "timeout expired"},
	"hangs in authentication":        {away, shmem.ServerUnreachable, "timeout expired"},
	"hangs after the login":          {away, shmem.ServerUnreachable, "timeout expired"},
	"hangs in a header":              {away, shmem.ServerUnreachable, "timeout expired"},
	"hangs at the question":          {away, shmem.ServerUnreachable, "server does not answer"},
	"hangs in the answer":            {away, shmem.ServerUnreachable, "server does not answer"},
	"hangs in a message":             {away, shmem.ServerUnreachable, "server does not answer"},
	"hangs with the answer complete": {away, shmem.ServerUnreachable, "server does not answer"},
	// The end.
	"closes":                 {away, shmem.ServerUnreachable, closed},
	"closes after the login": {away, shmem.ServerUnreachable, closed},
	"closes at the question": {away, shmem.ServerUnreachable, closed},
	"closes in a header":     {away, shmem.ServerUnreachable, closed},
	"closes in the answer":   {away, shmem.ServerUnreachable, closed},
	"resets":                 {away, shmem.ServerUnreachable, closed},
	"resets in the answer":   {away, shmem.ServerUnreachable, closed},
	// Not PostgreSQL, or broken.
	"SSH":                      {refused, shmem.ServerUnreachable, nonsense},
	"HTTP":                     {refused, shmem.ServerUnreachable, nonsense},
	"a TLS alert":              {refused, shmem.ServerUnreachable, nonsense},
	"zeros":                    {refused, shmem.ServerUnreachable, nonsense},
	"a negative length":        {refused, shmem.ServerUnreachable, nonsense},
	"a huge length":            {refused, shmem.ServerUnreachable, nonsense},
	"the largest length":       {refused, shmem.ServerUnreachable, nonsense},
	"a length too short":       {refused, shmem.ServerUnreachable, nonsense},
	"unknown authentication":   {refused, shmem.ServerUnreachable, nonsense},
	"ready before its time":    {refused, shmem.ServerUnreachable, nonsense},
	"a message out of place":   {refused, shmem.ServerUnreachable, nonsense},
	"nonsense in the answer":   {refused, shmem.ServerUnreachable, odd},
	"a huge length in it":      {refused, shmem.ServerUnreachable, odd},
	"a negative length in it":  {refused, shmem.ServerUnreachable, odd},
	"an inner length too long": {refused, shmem.ServerUnreachable, odd},
	// No end.
	"endless notices":             {refused, shmem.ServerUnreachable, nonsense},
	"endless parameters":          {refused, shmem.ServerUnreachable, nonsense},
	"endless notices at login":    {refused, shmem.ServerUnreachable, odd},
	"endless notices in it":       {refused, shmem.ServerUnreachable, odd},
	"endless notifications in it": {refused, shmem.ServerUnreachable, odd},
	"endless rows":                {refused, shmem.ServerUnreachable, odd},
	"endless answers":             {refused, shmem.ServerUnreachable, odd},
	// Another kind of answer.
	"says yesterday":        {refused, shmem.ServerUnreachable, odd},
	"says maybe":            {refused, shmem.ServerUnreachable, odd},
	"says null":             {refused, shmem.ServerUnreachable, odd},
	"says no time":          {refused, shmem.ServerUnreachable, odd},
	"says nothing":          {refused, shmem.ServerUnreachable, odd},
	"an empty row":          {refused, shmem.ServerUnreachable, odd},
	"one column":            {refused, shmem.ServerUnreachable, odd},
	"three columns":         {refused, shmem.ServerUnreachable, odd},
	"two rows":              {refused, shmem.ServerUnreachable, odd},
	"an empty query":        {refused, shmem.ServerUnreachable, odd},
	"an empty greeting":     {refused, shmem.ServerUnreachable, odd},
	"a greeting of its own": {refused, shmem.ServerUnreachable, odd},
}

// lookAt opens a session and asks it once.
func lookAt(conninfo string, limit time.Duration) (facts, error) {
	s, err := prober{limit: limit}.Open(context.Background(), conninfo)
	if err != nil {
		return facts{}, err
	}
	defer s.Close()
	return s.Look(context.Background())
}

func TestWhatAnOddServerIsTakenFor(t *testing.T) {
	for name, script := range fakeserver.Oddities {
		tt, known := oddServers[name]
		if !known {
			t.Errorf("nothing is said about %q", name)
		}
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
				facts, err := lookAt(start(t, script).Conninfo(), limit)
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
