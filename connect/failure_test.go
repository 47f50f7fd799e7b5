package connect_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/fakeserver"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func connectTo(t *testing.T, conninfo string) *elog.ErrorData {
	t.Helper()
	_, err := connect.Initialize(testContext(t), newWorker(conninfo), "", "", 0)
	e := report(t, err)
	if e.Level != elog.Fatal {
		t.Errorf("got level %v", e.Level)
	}
	return e
}

// closedPort returns a TCP port that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	check(t, l.Close())
	return port
}

func TestUnreachableServerIsNamedWithAHint(t *testing.T) {
	port := closedPort(t)
	for name, tt := range map[string]struct{ conninfo, message, detail, hint string }{
		"no socket": {
			"host=/nonexistent user=u", "could not connect to server: No such file or directory",
			`Connection to server on socket "/nonexistent/.s.PGSQL.5432" failed: No such file or directory.`,
			"Is the server running locally and accepting connections on that socket?",
		},
		"no port": {
			"host=127.0.0.1 user=u port=" + port, "could not connect to server: Connection refused",
			`Connection to server at "127.0.0.1", port ` + port + ` failed: Connection refused.`,
			"Is the server running on that host and accepting TCP/IP connections?",
		},
		"two hosts": {
			"host=/nonexistent,127.0.0.1 user=u port=1," + port, "could not connect to server: No such file or directory",
			`Connection to server on socket "/nonexistent/.s.PGSQL.1" failed: No such file or directory.` + "\n" +
				`Connection to server at "127.0.0.1", port ` + port + ` failed: Connection refused.`,
			"Is the server running locally and accepting connections on that socket?",
		},
		"standby wanted": {
			server.ConnInfo() + " target_session_attrs=standby", "could not connect to server: server is not in hot standby mode",
			"failed: server is not in hot standby mode.", "target_session_attrs",
		},
		"no SSL": {
			server.ConnInfoTCP() + " sslmode=require", "could not connect to server: tls error: server refused TLS connection",
			"tls error", "sslmode",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := connectTo(t, tt.conninfo)
			if e.Code != elog.SQLClientUnableToConnect || e.Message != tt.message || !strings.Contains(e.Detail, tt.detail) || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %s %q\nDETAIL %q\nHINT %q", e.Code, e.Message, e.Detail, e.Hint)
			}
			if !connect.IsServerEvent(e) {
				t.Error("not an event of the server")
			}
		})
	}
}

func TestOddServers(t *testing.T) {
	for name, tt := range map[string]struct {
		script  fakeserver.Script
		code    elog.SQLState
		message string
	}{
		"starting": {fakeserver.Refuse("57P03", "the database system is starting up"), "57P03", "the database system is starting up"},
		"full":     {fakeserver.Refuse("53300", "sorry, too many clients already"), "53300", "sorry, too many clients already"},
		"closes":   {func(*fakeserver.Client) {}, "08001", "could not connect to server: server closed the connection unexpectedly"},
		"hangs":    {(*fakeserver.Client).Hang, "08001", "could not connect to server: timeout expired"},
		"closes after the login": {
			(*fakeserver.Client).Welcome, "08001", "could not connect to server: server closed the connection unexpectedly",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := connectTo(t, fakeserver.Start(t, tt.script).Conninfo()+" connect_timeout=1")
			if e.Code != tt.code || e.Message != tt.message {
				t.Errorf("got %s %q", e.Code, e.Message)
			}
		})
	}
	t.Run("too old", func(t *testing.T) {
		old := fakeserver.Start(t, func(c *fakeserver.Client) { c.WelcomeTo("13.22 (Debian)"); c.Hang() })
		e := connectTo(t, old.Conninfo())
		if e.Code != "0A000" || e.Message != "server version 13.22 (Debian) is not supported" || e.Hint == "" {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("speaks garbage", func(t *testing.T) {
		e := connectTo(t, fakeserver.Start(t, func(c *fakeserver.Client) { c.Raw("HTTP/1.0 400 Bad Request\r\n\r\n") }).Conninfo()+" connect_timeout=1")
		if !connect.IsServerEvent(e) || !strings.HasPrefix(e.Message, "could not connect to server: ") {
			t.Errorf("got %s %q", e.Code, e.Message)
		}
	})
}

func TestAServerThatDoesNotCancelLosesTheSession(t *testing.T) {
	asked := make(chan string)
	deaf := fakeserver.Start(t, func(c *fakeserver.Client) {
		c.Login()
		sql, _ := c.Query()
		asked <- sql
		c.Hang()
	})
	conn := open(t, deaf.Conninfo(), "")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := make(chan error)
	go func() {
		_, err := conn.Exec(ctx, "SELECT 1")
		failed <- err
	}()
	if got := <-asked; got != "SELECT 1" {
		t.Fatalf("got %q", got)
	}
	cancel()
	if err := <-failed; !connect.IsStatementCancelled(err) || !conn.IsClosed() {
		t.Errorf("got %v", err)
	}
	if got := deaf.Cancelled(); len(got) == 0 || got[0] != 4711 {
		t.Errorf("cancel requests: got %v", got)
	}
}
