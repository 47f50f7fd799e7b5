package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
)

// runPs is "pgexthost ps".
func runPs(ctx context.Context, args []string) error {
	flags := newFlags("ps", "-D DIR [--json] [--watch]", "Lists the host's background workers, one line for each slot that is in use. On a\n"+
		"terminal, columns that do not fit are left out; a pipe or a file gets them all.")
	var dir string
	dataDirFlag(flags, &dir)
	asJSON := flags.Bool("json", false, "print a JSON array, with all that is known")
	watch := flags.Bool("watch", false, "show the list anew every second, until Ctrl-C")
	if err := parse(flags, args); err != nil {
		return err
	}
	look := func(ctx context.Context, c *control.Client) error {
		response, err := c.Do(ctx, control.Request{Op: control.OpPs})
		if err != nil {
			return err
		}
		return showWorkers(os.Stdout, response.Workers, *asJSON, *watch)
	}
	for {
		err := withClient(ctx, flags, dir, func(ctx context.Context, c *control.Client) error {
			if !*watch {
				return look(ctx, c)
			}
			return everySecond(ctx, func() error { return look(ctx, c) })
		})
		if !*watch || err == nil || !control.IsHangUp(err) {
			return err
		}
		// When a worker crashes, the control server may go with it. If the host is
		// there, so will be the next one.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// everySecond looks at once and then every second, until ctx ends, which is no
// error.
func everySecond(ctx context.Context, look func() error) error {
	for {
		if err := look(); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// withClient connects to the host of a data directory, until Ctrl-C.
func withClient(ctx context.Context, flags *pflag.FlagSet, dir string, do func(ctx context.Context, c *control.Client) error) error {
	if err := requireDataDir(flags, dir); err != nil {
		return err
	}
	if err := checkVisit(dir); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	client, err := control.Dial(ctx, dir)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, client)
}
