// Package benchlib is the library that the benchmarks measure a host with. A
// driver, a worker itself, registers, waits for and ends other workers through
// the same calls as every plugin, and notes when. What it measures is therefore
// what a plugin sees: no control server and no command line is part of it.
//
//	benchmark ──Command──► driver ──registers──► workers
//	          ◄──Answer───        ◄───Stamps────
//
// All times are of CLOCK_MONOTONIC, which every process of a machine shares, in
// nanoseconds.
package benchlib

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
)

// Names of the sockets in the directory that the driver's Extra names: the
// benchmark connects to the first, the workers send to the second.
const (
	DriverSocket = "driver"
	stampsSocket = "stamps"
)

// Stamps is when a worker came how far. Connected and Result are 0 for one
// without a session.
type Stamps struct {
	Pid       int
	Loaded    int64 // the Go runtime and all packages are initialised
	Main      int64 // the first line of the worker's main function
	Connected int64 // InitializeConnection has returned
	Result    int64 // the server has answered a first statement
}

// Library is the library "bench".
func Library() plugins.Library {
	return plugins.Library{
		Name: "bench",
		Init: func(p *plugins.Init) error {
			dir := p.DefineCustomString(plugins.StringVariable{
				Name: "bench.dir", Description: "The directory of the benchmark's sockets.", Context: plugins.PGCPostmaster,
			})
			driver := plugins.BackgroundWorker{
				Name: "driver", Flags: plugins.ShmemAccess, StartTime: plugins.StartAtRecoveryFinished, RestartTime: plugins.NeverRestart,
				LibraryName: "bench", FunctionName: "drive",
			}
			copy(driver.Extra[:], dir())
			p.RegisterBackgroundWorker(driver)
			return nil
		},
		Functions: plugins.Functions{"drive": drive, "idle": idle},
	}
}

// loaded is initialised after the packages that this one imports, and those are
// nearly all of the program.
var loaded = Now()

// Now returns the time of CLOCK_MONOTONIC.
func Now() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// idle tells the driver how it got here, and waits to be terminated. With the
// flag BackendDatabaseConnection it opens a session first.
func idle(ctx context.Context, w *plugins.Worker) error {
	stamps := Stamps{Pid: w.Pid(), Loaded: loaded, Main: Now()}
	if w.Entry().Flags&plugins.BackendDatabaseConnection != 0 {
		conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
		if err != nil {
			return err
		}
		stamps.Connected = Now()
		var one int
		if err := conn.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
			return err
		}
		stamps.Result = Now()
	}
	if err := stamps.send(directory(w)); err != nil {
		return err
	}
	for {
		if _, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.ExitOnPostmasterDeath, 0, plugins.ExtensionWait("BenchIdle")); err != nil {
			return err
		}
		w.ResetLatch()
	}
}

// send goes past package net, whose poller would stay behind in the idle
// process.
func (s Stamps) send(dir string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0) // nobody forks here
	if err != nil {
		return err
	}
	return errors.Join(unix.Sendto(fd, text, 0, &unix.SockaddrUnix{Name: filepath.Join(dir, stampsSocket)}), unix.Close(fd))
}

func directory(w *plugins.Worker) string {
	extra := w.Entry().Extra
	return strings.TrimRight(string(extra[:]), "\x00")
}

// receive reads what one worker has sent.
func receive(socket *net.UnixConn) (s Stamps, err error) {
	var text [512]byte
	n, err := socket.Read(text[:])
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text[:n], &s); err != nil {
		return s, fmt.Errorf("a worker sent %q: %w", text[:n], err)
	}
	return s, nil
}
