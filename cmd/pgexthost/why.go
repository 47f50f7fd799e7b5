package main

import (
	"context"
	"fmt"

	"github.com/pgexthost/pgexthost/internal/control"
)

// runWhy is "pgexthost why".
func runWhy(ctx context.Context, args []string) error {
	flags := newFlags("why", "-D DIR NAME|PID|HANDLE",
		"Says why the background worker of that name, pid or handle does not run, or since\n"+
			"when it does. The exit code is 0 if it runs, and 3 if it does not. \"launch\" prints\n"+
			"handles; a worker that is gone is known by its name only.")
	var dir string
	dataDirFlag(flags, &dir)
	target, err := parseTarget(flags, args)
	if err != nil {
		return err
	}
	running := true
	err = withClient(ctx, flags, dir, func(ctx context.Context, c *control.Client) error {
		response, err := c.Do(ctx, control.Request{Op: control.OpWhy, Target: target})
		for _, a := range response.Answers {
			fmt.Println(printable(a.Reason))
			if a.Detail != "" {
				fmt.Printf("  %s\n", printable(a.Detail))
			}
			if a.Hint != "" {
				fmt.Printf("  %s\n", printable(a.Hint))
			}
			running = running && a.Running
		}
		return err
	})
	if err == nil && !running {
		return exitStatus(statusNotRunning)
	}
	return err
}
