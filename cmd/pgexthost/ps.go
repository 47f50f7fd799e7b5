package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
)

// runPs is "pgexthost ps".
func runPs(ctx context.Context, args []string) error {
	flags := newFlags("ps", "-D DIR [--json] [--watch]", "Lists the host's background workers, one line for each slot that is in use.")
	var dir string
	dataDirFlag(flags, &dir)
	asJSON := flags.Bool("json", false, "print a JSON array, with all that is known")
	watch := flags.Bool("watch", false, "print the list again every second, until Ctrl-C")
	if err := parse(flags, args); err != nil {
		return err
	}
	return withClient(ctx, flags, dir, func(ctx context.Context, c *control.Client) error {
		for {
			response, err := c.Do(ctx, control.Request{Op: control.OpPs})
			if err == nil {
				err = printWorkers(os.Stdout, response.Workers, *asJSON)
			}
			if err != nil || !*watch {
				return err
			}
			select {
			case <-ctx.Done():
				return nil // that is how to end it
			case <-time.After(time.Second):
				fmt.Println()
			}
		}
	})
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

func printWorkers(w io.Writer, workers []control.Worker, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(workers)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "SLOT\tGEN\tPID\tNAME\tTYPE\tLIBRARY\tFUNCTION\tSTATE\tDATABASE\tWAIT EVENT\tSTARTED\tRESTARTS\tLAST EXIT\tNEXT START\n")
	for _, r := range workers {
		fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
			r.Slot, r.Generation, shownPid(r.Pid), shown(r.Name), shown(r.Type), shown(r.Library), shown(r.Function), r.State, dash(r.Database), dash(r.WaitEvent),
			shownTime(r.StartedAt), r.Restarts, dash(r.LastExit), shownTime(r.NextStart))
	}
	return table.Flush()
}

func shownPid(pid int) string {
	if pid == 0 {
		return "-"
	}
	return strconv.Itoa(pid)
}

func shownTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return shown(text)
}

// shown makes text fit for one line of a terminal. Names come out of shared
// memory: a line break or a tab would forge rows and columns, and an escape
// sequence more than that.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
