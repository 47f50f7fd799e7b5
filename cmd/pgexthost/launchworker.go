package main

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// runLaunch is "pgexthost launch".
func runLaunch(ctx context.Context, args []string) error {
	flags := newFlags("launch", "-D DIR LIBRARY FUNCTION [OPTION]...",
		"Registers a dynamic background worker, which starts as soon as its start time has\n"+
			"come, and prints its handle. With --wait, waits for that and prints its pid: the\n"+
			"process has been started then, but may have failed since, which \"why\" tells.")
	var dir, restart, start string
	var l control.Launch
	dataDirFlag(flags, &dir)
	flags.StringVar(&l.Name, "name", "", "the worker's `NAME` (default: LIBRARY FUNCTION)")
	flags.StringVar(&l.Type, "type", "", "the worker's `TYPE` (default: its name)")
	flags.Int64Var(&l.Arg, "arg", 0, "the main argument, a `NUMBER`")
	flags.StringVar(&l.Extra, "extra", "", "the extra data, a `TEXT` of up to 128 bytes")
	flags.StringVar(&restart, "restart", "never", "start it again so many `SECS` after it has failed, or never")
	flags.StringVar(&start, "start", "running", "`WHEN` to start it: postmaster (at once), consistent (the server\naccepts connections) or running (it accepts writes)")
	wait := flags.Bool("wait", false, "wait until it has been started")
	if err := parseWithArguments(flags, args, 2); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return subcommandError(flags.Name(), "a library and a function are needed")
	}
	l.Library, l.Function = flags.Arg(0), flags.Arg(1)
	if err := readSchedule(&l, restart, start); err != nil {
		return err
	}
	return withClient(ctx, flags, dir, func(ctx context.Context, c *control.Client) error {
		response, err := c.Do(ctx, control.Request{Op: control.OpLaunch, Launch: &l, Wait: *wait})
		switch {
		case err != nil && ctx.Err() != nil:
			return elog.New(elog.Error, elog.QueryCanceled, "canceled the wait for a background worker").
				WithDetail("If it has been registered, it stays so, and starts when its time has come.").
				WithHint("\"pgexthost why\" says what it waits for, \"pgexthost terminate\" ends it.")
		case err != nil:
			return err
		case *wait:
			fmt.Println(response.Pid)
		default:
			fmt.Println(response.Handle)
		}
		return nil
	})
}

// readSchedule reads when the worker is started, and started again. Only one
// that starts with the host can do without a server.
func readSchedule(l *control.Launch, restart, start string) error {
	starts := map[string]plugins.StartTime{
		"postmaster": plugins.StartAtPostmasterStart, "consistent": plugins.StartAtConsistentState, "running": plugins.StartAtRecoveryFinished,
	}
	at, ok := starts[start]
	if !ok {
		return subcommandError("launch", "invalid argument \"%s\" of --start: not postmaster, consistent or running", start)
	}
	l.Start, l.Database = at, at != plugins.StartAtPostmasterStart
	l.RestartTime = plugins.NeverRestart
	if restart != "never" {
		seconds, err := strconv.Atoi(restart)
		if err != nil || seconds < 0 || seconds > math.MaxInt32 {
			return subcommandError("launch", "invalid argument \"%s\" of --restart: not a number of seconds, nor never", restart)
		}
		l.RestartTime = seconds
	}
	return nil
}
