package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// runPluginReload is "pgexthost plugin reload".
func runPluginReload(ctx context.Context, args []string) error {
	c := newControl("plugin reload", "NAME -D DIR [-t SECS] [--json]",
		"Has the workers of a library run from the file that its name leads to now. First\n"+
			"the Init of that file runs in a process of its own: if anything is wrong with it,\n"+
			"nothing changes, and the exit code is 1. Then settings and static workers become\n"+
			"those of the new Init, and each worker that runs is drained: it gets SIGTERM and\n"+
			"the time it needs, and starts again at once, whatever its restart time. Waits until\n"+
			"all of them run again; when the time is over the exit code is 1, and they go on.")
	c.flags.Uint32VarP(&c.seconds, "timeout", "t", defaultSeconds, "`SECS` to wait (default: $PGCTLTIMEOUT, or 60)")
	c.flags.Lookup("timeout").DefValue = "0" // the text says it better
	asJSON := c.flags.Bool("json", false, "print a JSON object")
	if err := parseWithArguments(c.flags, args, 1); err != nil {
		return err
	}
	if c.flags.NArg() == 0 {
		return subcommandError(c.flags.Name(), "which library? \"pgexthost plugin list\" shows all")
	}
	if err := c.readTimeout(); err != nil {
		return err
	}
	return withClient(ctx, c.flags, c.dir, func(ctx context.Context, client *control.Client) error {
		response, err := client.Do(ctx, control.Request{
			Op: control.OpReload, Target: c.flags.Arg(0), Wait: true, Limit: time.Duration(c.seconds) * time.Second,
		})
		if err != nil {
			return err
		}
		return showReload(os.Stdout, os.Stderr, response.Reloaded, *asJSON)
	})
}

// showReload prints what has come of a reload, and returns an error if somebody
// has not come to an end in time.
func showReload(stdout, stderr io.Writer, r *control.Reloaded, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(stdout, reloadSummary(r))
		for _, w := range r.Workers {
			fmt.Fprintf(stdout, "worker \"%s\": %s\n", printable(w.Name), workerOutcome(w))
		}
		for _, s := range r.Settings {
			fmt.Fprintf(stdout, "setting \"%s\": %s\n", printable(s.Name), settingOutcome(s))
		}
		for _, n := range r.Warnings {
			printReport(stderr, elog.New(elog.Warning, "", "%s", n.Message).WithDetail("%s", n.Detail).WithHint("%s", n.Hint))
		}
	}
	if r.Complete {
		return nil
	}
	var names []string
	for _, w := range r.Workers {
		if w.State == control.OutcomeDraining || w.State == control.OutcomeEnding {
			names = append(names, fmt.Sprintf("\"%s\"", printable(w.Name)))
		}
	}
	return elog.New(elog.Error, elog.QueryCanceled, "timed out waiting for %s", strings.Join(names, ", ")).
		WithDetail("The library was reloaded. What takes the place of an old process starts as soon as that has ended.").
		WithHint("\"pgexthost ps\" shows when it has, \"pgexthost why\" what it is doing; \"pgexthost kill KILL PID\" does not wait.")
}

// reloadSummary says which program has taken the place of which.
func reloadSummary(r *control.Reloaded) string {
	name := printable(r.Library)
	if !r.Preloaded {
		text := fmt.Sprintf("library \"%s\" is not preloaded; its workers run from %s", name, printable(r.Is.String()))
		if len(r.Workers) == 0 {
			return fmt.Sprintf("library \"%s\" is not preloaded, and has no workers; the next one runs from %s", name, printable(r.Is.String()))
		}
		return text
	}
	switch {
	case r.Was == nil:
		return fmt.Sprintf("library \"%s\" loaded from %s", name, printable(r.Is.String()))
	case r.Is.CompiledIn != "":
		return fmt.Sprintf("library \"%s\" reloaded from %s", name, r.Is)
	}
	return fmt.Sprintf("library \"%s\" reloaded from %s", name, printable(buildChange(*r.Was, r.Is)))
}

// buildChange is "FILE (OLD → NEW)".
func buildChange(was, is control.Build) string {
	file := is.File
	if was.File != "" && was.File != is.File {
		file += ", no more from " + was.File
	}
	switch {
	case was.Version != is.Version:
		return fmt.Sprintf("%s (%s → %s)", file, orUnknown(was.Version), orUnknown(is.Version))
	case was.Revision != is.Revision:
		return fmt.Sprintf("%s (%s, revision %s → %s)", file, orUnknown(is.Version), orUnknown(was.Revision), orUnknown(is.Revision))
	case is.Version == "", is.Version == control.NoVersion:
		return file
	}
	return fmt.Sprintf("%s (%s as before)", file, is.Version)
}

func orUnknown(version string) string {
	if version == "" {
		return "unknown version"
	}
	return strings.Trim(version, "()") // "(devel)" stands in brackets here
}

// workerOutcome says what has become of a worker.
func workerOutcome(w control.WorkerOutcome) string {
	text := string(w.State)
	switch w.State {
	case control.OutcomeRestarted:
		text = fmt.Sprintf("restarted (PID %d → %d)", w.WasPid, w.Pid)
	case control.OutcomeStarted, control.OutcomeNew:
		text = fmt.Sprintf("%s (PID %d)", w.State, w.Pid)
	case control.OutcomeDraining:
		if text = "starting"; w.Pid != 0 {
			text = fmt.Sprintf("still draining (PID %d)", w.Pid)
		}
	case control.OutcomeEnding:
		text = "not registered any more"
		if w.Pid != 0 {
			text += fmt.Sprintf(", still ending (PID %d)", w.Pid)
		}
	case control.OutcomeGone:
		text = "not registered any more"
	case control.OutcomeDone:
		text = "has ended for good"
	case control.OutcomeKept:
		text = fmt.Sprintf("left alone (PID %d)", w.Pid)
	case control.OutcomeWaiting:
		text = "not running"
	case control.OutcomeRefused:
		text = "refused"
	}
	if w.Changed {
		text += ", with another registration"
	}
	if w.Reason != "" {
		text += ": " + printable(w.Reason)
	}
	return text
}

// settingOutcome says what has become of a setting.
func settingOutcome(s guc.Change) string {
	was, is := printable(quoteEmpty(s.Was)), printable(quoteEmpty(s.Is))
	switch {
	case s.Kind == guc.ChangeNew:
		return "new, " + is
	case s.Kind == guc.ChangeGone:
		return "not defined any more, was " + was
	case s.Was == s.Is:
		return "defined otherwise, still " + is
	}
	return fmt.Sprintf("defined otherwise, %s → %s", was, is)
}
