package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// demoLimit bounds every single wait of the demo.
const demoLimit = 30 * time.Second

// runDemo is "pgexthost demo".
func runDemo(ctx context.Context, args []string) error {
	flags := newFlags("demo", "[--server CONNINFO] [--keep]",
		"Shows PostgreSQL's example worker_spi at work: starts a private server and a host\n"+
			"with two static workers, inserts rows, and checks that the workers add them up.\n"+
			"Everything is removed at the end.")
	server := flags.String("server", "", "use this server, by `CONNINFO` or URI, instead of a private one; the\nworkers' schemas are dropped again if they were not there before")
	keep := flags.Bool("keep", false, "leave it all running until Ctrl-C, and say how to connect")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := host.Supported(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	defer stop()
	d := demo{conninfo: *server, keep: *keep}
	err := errors.Join(d.play(ctx), d.cleanUp())
	if err == nil && !*keep {
		fmt.Print("\nThe demo has passed: worker_spi works. Nothing is left running.\n")
	}
	if interruptedAtWill := *keep && err == nil; ctx.Err() != nil && !interruptedAtWill {
		return elog.New(elog.Error, elog.QueryCanceled, "the demo was interrupted")
	}
	return err
}

// demo is one performance, and what it has to take down afterwards.
type demo struct {
	conninfo string
	keep     bool
	undo     []func() error // in the order of construction
}

func (d *demo) later(f func() error) { d.undo = append(d.undo, f) }

func (d *demo) cleanUp() error {
	var errs []error
	for i := len(d.undo) - 1; i >= 0; i-- {
		errs = append(errs, d.undo[i]())
	}
	return errors.Join(errs...)
}

func (d *demo) play(ctx context.Context) error {
	if err := d.provideServer(ctx); err != nil {
		return err
	}
	conn, err := d.connect(ctx)
	if err != nil {
		return err
	}
	tables, err := d.claimTables(ctx, conn)
	if err != nil {
		return err
	}
	running, err := d.startHost()
	if err != nil {
		return err
	}
	if err := d.perform(ctx, conn, tables, running); err != nil {
		return err
	}
	if d.keep {
		d.waitForInterrupt(ctx, running)
	}
	fmt.Print("\nStopping the host (fast shutdown)\n")
	return nil
}

func (d *demo) provideServer(ctx context.Context) error {
	if d.conninfo != "" {
		return nil
	}
	fmt.Print("Starting a private PostgreSQL server\n")
	server, err := localpg.Start(ctx, localpg.Options{})
	if err != nil {
		return err
	}
	d.later(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), demoLimit)
		defer cancel()
		return server.Stop(ctx)
	})
	d.conninfo = server.ConnInfo()
	fmt.Printf("  PostgreSQL %s, on a unix socket in %s\n", server.Version(), server.Dir())
	return nil
}

func (d *demo) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := connect.ParseConninfo(d.conninfo)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	conn, err := connect.Open(ctx, config, "pgexthost demo")
	if err != nil {
		return nil, err
	}
	d.later(func() error { return conn.Close(context.Background()) })
	return conn.Conn, nil
}

// startHost makes a data directory and starts this program again, as the host.
func (d *demo) startHost() (*demoHost, error) {
	scratch, err := localpg.NewScratch()
	if err != nil {
		return nil, err
	}
	d.later(scratch.Remove)
	dir := filepath.Join(scratch.Path(), "host")
	if err := host.Init(dir, d.conninfo); err != nil {
		return nil, err
	}
	fmt.Print("\nStarting the extension host, with the library worker_spi and its two static workers\n")
	running, err := startDemoHost("run", "-D", dir, "-c", "shared_preload_libraries=worker_spi",
		"-c", "worker_spi.naptime=1", "-c", "worker_spi.total_workers=2")
	if err != nil {
		return nil, err
	}
	d.later(running.stop)
	return running, nil
}

func (d *demo) waitForInterrupt(ctx context.Context, running *demoHost) {
	fmt.Printf("\nThe host keeps running until Ctrl-C. To give its workers something to add up:\n\n"+
		"    psql \"%s\" -c \"INSERT INTO schema1.counted VALUES ('delta', 1)\"\n\n", d.conninfo)
	select {
	case <-ctx.Done():
	case <-running.exited:
	}
}
