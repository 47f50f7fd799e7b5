package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pgexthost/pgexthost/internal/lockfile"
)

// gatewayPatience is how long a start waits for the gateway of a host that is ready.
// One that takes longer can't listen as it should, and goes on trying.
const gatewayPatience = 5 * time.Second

// gatewayAddress is where the gateway of the host is going to listen, in the words
// of its log, and as net.Dial takes it. A host that has none has no network either.
func gatewayAddress(c lockfile.Contents) (network, address, words string) {
	port := strconv.Itoa(c.Port)
	switch {
	case c.Port == 0:
		return "", "", ""
	case c.SocketDir != "":
		path := filepath.Join(c.SocketDir, ".s.PGSQL."+port)
		return "unix", path, fmt.Sprintf("Unix socket \"%s\"", path)
	case c.ListenAddress == "*":
		return "tcp", net.JoinHostPort("localhost", port), "port " + port
	}
	address = net.JoinHostPort(c.ListenAddress, port)
	return "tcp", address, fmt.Sprintf("address \"%s\"", address)
}

// awaitGateway waits until clients can connect to a host that is ready, so that
// psql can follow start in a script, as it can follow that of pg_ctl. A gateway that
// can't listen is no reason to call the host not started: then it returns a warning.
func (c *controller) awaitGateway(events <-chan startEvent) (event startEvent, warning string) {
	contents, err := lockfile.Read(c.dir)
	if err != nil {
		return becameReady, "" // it has been stopped already
	}
	network, address, words := gatewayAddress(contents)
	if network == "" {
		return becameReady, ""
	}
	timeout, tick := time.After(gatewayPatience), time.NewTicker(readyPause)
	defer tick.Stop()
	for {
		if conn, err := net.DialTimeout(network, address, time.Second); err == nil {
			_ = conn.Close()
			return becameReady, ""
		}
		select {
		case event := <-events: // interrupted, or it has ended after all
			return event, ""
		case <-tick.C:
		case <-timeout:
			return becameReady, "the gateway does not listen on " + words + " yet\nExamine the log output."
		}
	}
}
