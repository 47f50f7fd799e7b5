package servermonitor

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/fakeserver"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Not parallel: it counts what the whole process allocates.
func TestAHugeOrEndlessAnswerTakesLittleMemory(t *testing.T) {
	const most = 32 << 20
	for name, script := range fakeserver.Oddities {
		if !strings.Contains(name, "length") && !strings.HasPrefix(name, "endless") {
			continue
		}
		fake := fakeserver.Start(t, script)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := lookAt(fake.Conninfo(), patience); err == nil {
			t.Errorf("%s: got an answer", name)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > most {
			t.Errorf("%s: %d MiB were allocated", name, took>>20)
		}
	}
}

// Pgx would send a cancel request after anything it does not understand, and go
// on reading from the broken session for 15 seconds: each look at an ill server
// would cost it three connections.
func TestALookCostsAnIllServerOneConnection(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"zeros", "SSH", "hangs", "hangs in the answer", "nonsense in the answer", "endless rows", "endless notices at login", "says maybe"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const looks = 10
			fake := fakeserver.Start(t, fakeserver.Oddities[name])
			for range looks {
				if _, err := lookAt(fake.Conninfo(), shortly); err == nil {
					t.Fatal("got an answer")
				}
			}
			eventually(t, "the sockets to be closed", func() bool { return len(fake.Clients()) == 0 })
			if got := fake.Accepted(); got != looks {
				t.Errorf("got %d connections", got)
			}
		})
	}
}

// eventually polls, for less long than pgx keeps broken sessions.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// Without a limit of its own the dead host would use up all of the time.
func TestADeadHostDoesNotHideALivingOne(t *testing.T) {
	t.Parallel()
	living := fakeserver.StartTCP(t, fakeserver.NewPostgres(false).Serve)
	standing := fakeserver.StartTCP(t, fakeserver.NewPostgres(true).Serve)
	hanging := fakeserver.StartTCP(t, (*fakeserver.Client).Hang)
	empty := fakeserver.StartTCP(t, func(c *fakeserver.Client) { c.Welcome(); _, _ = c.Query(); c.Rows(); c.Hang() })
	deaf := fakeserver.StartTCP(t, nil)
	deaf.PlayAtOnce((*fakeserver.Client).Hang)
	gone := fakeserver.StartTCP(t, nil)
	gone.Close()
	for name, tt := range map[string]struct {
		first *fakeserver.Server
		attrs string
	}{
		"hangs":                     {hanging, ""},
		"hangs at once":             {deaf, ""},
		"is gone":                   {gone, ""},
		"is a standby":              {standing, " target_session_attrs=primary"},
		"hangs when asked for more": {hanging, " target_session_attrs=primary"},
		"answers in an odd way":     {empty, " target_session_attrs=primary"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			facts, err := lookAt(both(tt.first, living)+tt.attrs, 2*shortly)
			if err != nil || facts.InRecovery || !strings.Contains(facts.Where, port(living)) {
				t.Errorf("got %+v, %v", facts, err)
			}
		})
	}
	t.Run("has no address", func(t *testing.T) {
		t.Parallel()
		conninfo := strings.Replace(both(gone, living), "host=127.0.0.1", "host=no.such.host.invalid", 1)
		if _, err := lookAt(conninfo, patience); err != nil {
			t.Error(err)
		}
	})
}

// both is a conninfo with two hosts.
func both(first, second *fakeserver.Server) string {
	return "host=127.0.0.1,127.0.0.1 port=" + port(first) + "," + port(second) + " user=tester"
}

func port(s *fakeserver.Server) string {
	_, port, _ := strings.Cut(s.Conninfo(), "port=")
	port, _, _ = strings.Cut(port, " ")
	return port
}

func TestAHostNameThatCannotBeResolvedSaysSo(t *testing.T) {
	t.Parallel()
	_, err := lookAt("host=no.such.host.invalid user=tester", patience)
	if f := classify(err); f.kind != away || !strings.HasPrefix(f.reason, `could not translate host name "no.such.host.invalid" to address: `) {
		t.Errorf("got %+v", f)
	}
}

// A server without TLS that hangs is not one that lacks TLS.
func TestTheLastWordAboutAServerWithoutTLSCounts(t *testing.T) {
	t.Parallel()
	hanging := fakeserver.StartTCP(t, (*fakeserver.Client).Hang)
	_, err := lookAt(hanging.Conninfo()+" sslmode=prefer", shortly)
	if f := classify(err); f.reason != "timeout expired" || strings.Contains(f.detail+f.hint, "TLS") {
		t.Errorf("got %+v", f)
	}
	_, err = lookAt(hanging.Conninfo()+" sslmode=require", shortly)
	if f := classify(err); f.reason != "tls error: server refused TLS connection" || !strings.Contains(f.hint, "sslmode") {
		t.Errorf("got %+v", f)
	}
}

func TestAConnectTimeoutOfTheSettingsCounts(t *testing.T) {
	t.Parallel()
	hanging := fakeserver.Start(t, (*fakeserver.Client).Hang)
	begin := time.Now()
	_, err := lookAt(hanging.Conninfo()+" connect_timeout=2", shortly)
	if took := time.Since(begin); took < 2*time.Second || !connect.IsConnectionLost(err) {
		t.Errorf("after %v: %v", took, err)
	}
}

func TestTheEndOfTheContextEndsALookAtOnce(t *testing.T) {
	t.Parallel()
	for name, script := range fakeserver.Oddities {
		if !strings.HasPrefix(name, "hangs") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hangs := make(chan struct{})
			fake := fakeserver.Start(t, func(c *fakeserver.Client) { close(hangs); script(c) })
			ctx, cancel := context.WithCancelCause(context.Background())
			enough := errors.New("enough")
			go func() { <-hangs; cancel(enough) }()
			begin := time.Now()
			s, err := prober{limit: patience}.Open(ctx, fake.Conninfo())
			if err == nil {
				_, err = s.Look(ctx)
				s.Close()
			}
			if took := time.Since(begin); err == nil || took > cancelGraceOfWorkers {
				t.Errorf("after %v: %v", took, err)
			}
			if len(fake.Cancelled()) != 0 {
				t.Error("a cancel request was sent")
			}
		})
	}
}

// cancelGraceOfWorkers is how long a session that is no probe waits for a server
// to cancel a statement.
const cancelGraceOfWorkers = 2 * time.Second

// A message of the server can be longer than what is taken from a stranger.
func TestAWorkersSessionTakesLongMessages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3<<20)
	fake := fakeserver.Start(t, func(c *fakeserver.Client) {
		c.Login()
		for {
			if _, ok := c.Query(); !ok {
				return
			}
			c.Row(long)
		}
	})
	config, err := connect.ParseConninfo(fake.Conninfo())
	check(t, err)
	for _, probe := range []bool{false, true} {
		var opts []connect.Option
		if probe {
			opts = append(opts, connect.AsProbe(patience))
		}
		conn, err := connect.Open(context.Background(), config, "tester", opts...)
		check(t, err)
		defer conn.HangUp(context.Background())
		results, err := conn.PgConn().Exec(context.Background(), "SELECT long").ReadAll()
		switch {
		case probe && err == nil:
			t.Error("a probe took it")
		case !probe && (err != nil || string(results[0].Rows[0][0]) != long):
			t.Errorf("got %v", err)
		}
	}
}

func TestNonsenseIsAProtocolViolation(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"zeros", "says maybe", "an empty greeting", "nonsense in the answer"} {
		if _, err := lookAt(fakeserver.Start(t, fakeserver.Oddities[name]).Conninfo(), patience); connect.SQLState(err) != elog.ProtocolViolation {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
