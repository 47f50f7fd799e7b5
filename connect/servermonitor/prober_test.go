package servermonitor

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/fakeserver"
)

const shortly = 200 * time.Millisecond // an answer limit for tests

// openFake opens a session with a scripted server.
func openFake(t *testing.T, script fakeserver.Script) session {
	t.Helper()
	s, err := prober{limit: shortly}.Open(context.Background(), fakeserver.Start(t, script).Conninfo())
	check(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestLookAsksTheServer(t *testing.T) {
	s := openFake(t, func(c *fakeserver.Client) {
		if c.Params["application_name"] != applicationName {
			return
		}
		c.Login()
		for _, recovery := range []string{"t", "f"} {
			_, _ = c.Query()
			c.Row(recovery, "1700000000123456")
		}
		c.Hang()
	})
	for _, inRecovery := range []bool{true, false} {
		f, err := s.Look(context.Background())
		check(t, err)
		if f.InRecovery != inRecovery || !f.Started.Equal(started) || f.Version != "15.0" || !strings.Contains(f.Where, `user "tester"`) {
			t.Errorf("got %+v", f)
		}
	}
}

func TestServerThatStopsAnsweringIsNoticed(t *testing.T) {
	s := openFake(t, func(c *fakeserver.Client) { c.Login(); c.Hang() })
	if _, err := s.Look(context.Background()); !connect.IsServerEvent(err) || err.Error() != "server does not answer" {
		t.Errorf("got %v", err)
	}
}

func TestAwaitLossReturnsTheServersLastWord(t *testing.T) {
	end := make(chan struct{})
	s := openFake(t, func(c *fakeserver.Client) {
		c.Login()
		<-end
		c.Fatal("57P01", "terminating connection due to administrator command")
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.AwaitLoss(ctx); err != nil {
		t.Errorf("with an ended context: got %v", err)
	}
	close(end)
	if err := s.AwaitLoss(context.Background()); !connect.IsAdminShutdown(err) {
		t.Errorf("got %v", err)
	}
}

func TestAWaitThatIsBrokenOffSendsNoCancelRequestAndKeepsTheSession(t *testing.T) {
	fake := fakeserver.Start(t, func(c *fakeserver.Client) {
		c.Login()
		for {
			if _, ok := c.Query(); !ok {
				return
			}
			c.Row("f", "1")
		}
	})
	s, err := prober{limit: patience}.Open(context.Background(), fake.Conninfo())
	check(t, err)
	defer s.Close()
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- s.AwaitLoss(ctx) }()
		cancel()
		check(t, <-done)
		_, err := s.Look(context.Background())
		check(t, err)
	}
	if fake.Connections() != 1 || len(fake.Cancelled()) != 0 {
		t.Errorf("got %d connections, cancel requests %v", fake.Connections(), fake.Cancelled())
	}
}

func TestAServerThatTalksOnItsOwnEndsTheSession(t *testing.T) {
	for name, tt := range map[string]struct {
		script fakeserver.Script
		reason string
	}{
		"nonsense":              {fakeserver.Raw("SSH-2.0-OpenSSH_9.2\r\n"), odd},
		"a huge length":         {fakeserver.Raw("A\x3f\xff\xff\xff"), odd},
		"endless notices":       {fakeserver.Flood("N\x00\x00\x00\x0dSNOTICE\x00\x00"), odd},
		"endless notifications": {fakeserver.Flood("A\x00\x00\x00\x0c\x00\x00\x00\x01a\x00b\x00"), odd},
		"endless parameters":    {fakeserver.Flood("S\x00\x00\x00\x08a\x00b\x00"), odd},
		"a crash":               {fakeserver.Refuse("57P02", "crash of another"), "crash of another"},
		"an idle timeout":       {fakeserver.Refuse("57P05", "idle-session timeout"), "idle-session timeout"},
		"the end":               {func(*fakeserver.Client) {}, closed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openFake(t, func(c *fakeserver.Client) { c.Login(); tt.script(c) })
			if err := s.AwaitLoss(context.Background()); err == nil || classify(err).reason != tt.reason {
				t.Errorf("got %v", err)
			}
		})
	}
}
