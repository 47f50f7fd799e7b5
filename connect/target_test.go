package connect_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/fakeserver"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// maintenanceOID is the database of all sessions with a fake server.
const maintenanceOID = 5

func TestMaintenanceDatabaseByOIDIsKeptOpen(t *testing.T) {
	fake := fakeserver.Start(t, func(c *fakeserver.Client) { c.Login(); _, _ = c.Query() }) // no look-up is answered
	conn, err := connect.InitializeByOID(testContext(t), newWorker(fake.Conninfo()), maintenanceOID, 0, 0)
	check(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	if n := fake.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Between the look-up and the connection another database may get the name.
func TestADatabaseThatTakesTheNameIsNotConnectedTo(t *testing.T) {
	const asked = 16384
	for name, connected := range map[string]uint32{"the same": asked, "another": asked + 1} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan struct{})
			fake := fakeserver.Start(t,
				func(c *fakeserver.Client) { c.Login(); answerLookUp(c, "the_name"); c.Hang() },
				func(c *fakeserver.Client) {
					defer close(closed)
					c.Welcome()
					if _, ok := c.Query(); ok && c.Params["database"] == "the_name" {
						c.Row(strconv.FormatUint(uint64(connected), 10), "0")
					}
					c.Hang()
				},
			)
			conn, err := connect.InitializeByOID(testContext(t), newWorker(fake.Conninfo()), asked, 0, 0)
			if connected == asked {
				check(t, err)
				_ = conn.Close(context.Background())
			} else if e := report(t, err); e.Code != elog.UndefinedDatabase || e.Message != "database 16384 does not exist" ||
				e.Detail != "It was renamed while the worker was connecting." {
				t.Errorf("got %+v", e)
			}
			select {
			case <-closed:
			case <-testContext(t).Done():
				t.Error("the session is left open")
			}
			if n := fake.Connections(); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// answerLookUp answers a statement of the extended protocol with one row.
func answerLookUp(c *fakeserver.Client, value string) {
	for range 5 { // Parse, Bind, Describe, Execute, Sync
		_, _ = c.Query()
	}
	c.Raw("1\x00\x00\x00\x04" + "2\x00\x00\x00\x04") // ParseComplete, BindComplete
	c.Row(value)
}
