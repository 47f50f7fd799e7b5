package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/pgexthost/pgexthost/internal/control"
)

// runTerminate is "pgexthost terminate".
func runTerminate(ctx context.Context, args []string) error {
	flags := newFlags("terminate", "-D DIR NAME|PID|HANDLE [--wait]",
		"Ends the background workers of that name, or the one of that pid or handle, for\n"+
			"good: SIGTERM, and no restart, whatever the exit code. \"launch\" prints handles.")
	var dir string
	dataDirFlag(flags, &dir)
	wait := flags.Bool("wait", false, "wait until they are gone")
	target, err := parseTarget(flags, args)
	if err != nil {
		return err
	}
	return withClient(ctx, flags, dir, func(ctx context.Context, c *control.Client) error {
		response, err := c.Do(ctx, control.Request{Op: control.OpTerminate, Target: target, Wait: *wait})
		if err != nil {
			return err
		}
		for _, w := range response.Terminated {
			switch {
			case *wait:
				fmt.Printf("background worker \"%s\" is gone\n", printable(w.Name))
			case w.Pid != 0:
				fmt.Printf("background worker \"%s\" (PID %d) is being terminated\n", printable(w.Name), w.Pid)
			default:
				fmt.Printf("background worker \"%s\" is being unregistered\n", printable(w.Name))
			}
		}
		return nil
	})
}

// parseTarget reads the arguments of a command that takes one name, pid or handle.
func parseTarget(flags *pflag.FlagSet, args []string) (string, error) {
	if err := parseWithArguments(flags, args, 1); err != nil {
		return "", err
	}
	if flags.NArg() == 0 {
		return "", subcommandError(flags.Name(), "which worker? say a name, a pid or a handle")
	}
	return flags.Arg(0), nil
}
