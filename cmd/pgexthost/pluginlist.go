package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// pluginRow is a row of "plugin list". The names in JSON are part of the command
// line's contract.
type pluginRow struct {
	Name string `json:"name"`
	control.Build
	State     pluginState `json:"state"`
	Reason    string      `json:"reason"`    // of left_out, unusable, replaced and missing
	LoadedAt  *time.Time  `json:"loaded_at"` // when its Init ran for the host, or null
	Workers   []string    `json:"workers"`   // static workers
	Functions []string    `json:"functions"`
	Settings  []string    `json:"settings"`
}

// pluginState is what a library is to the host.
type pluginState string

// The states. With a host that runs, the first four are those of
// shared_preload_libraries.
const (
	pluginLoaded    pluginState = "loaded"
	pluginReplaced  pluginState = "replaced" // it is loaded, and its name leads to something else by now
	pluginMissing   pluginState = "missing"  // it is loaded, and its name leads nowhere by now
	pluginLeftOut   pluginState = "left_out" // it should be loaded, and could not
	pluginAvailable pluginState = "available"
	pluginUnusable  pluginState = "unusable"
)

// runPluginList is "pgexthost plugin list".
func runPluginList(_ context.Context, args []string) error {
	flags := newFlags("plugin list", "-D DIR [--json]",
		"Lists the libraries that the host has preloaded, from where and with what, those\n"+
			"that it has left out, and those whose file was replaced since: \"plugin reload\"\n"+
			"would use the new one. Then what else there is on dynamic_library_path, for workers\n"+
			"or to be preloaded. If the host does not run, shows what one could load.")
	var dir string
	dataDirFlag(flags, &dir)
	asJSON := flags.Bool("json", false, "print a JSON array")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := requireDataDir(flags, dir); err != nil {
		return err
	}
	if err := checkVisit(dir); err != nil {
		return err
	}
	known, err := knownLibraries(dir)
	if err != nil {
		return err
	}
	rows, err := pluginRows(known)
	if err != nil {
		return err
	}
	if *asJSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(rows)
	}
	return tabulatePlugins(os.Stdout, rows)
}

// knownLibraries returns what the host that runs in a directory knows of
// libraries, or what one would that is started there with the configuration file.
func knownLibraries(dir string) (*control.Libraries, error) {
	if _, _, err := runningSettings(dir); err == nil {
		known, err := control.ReadLibraries(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || isUp(dir) {
			return known, err
		}
	} else if !errors.Is(err, errNotRunning) {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "pgexthost: no server running, showing what it could load\n")
	store := guc.NewStore(settings.Definitions()...)
	for _, report := range store.ApplyStartup(settings.ReadFiles(filepath.Join(dir, settings.ConfigFileName))) {
		if report.Level >= elog.Error || report.Code != elog.SuccessfulCompletion {
			printReport(os.Stderr, elog.AsErrorData(report, elog.Warning))
		}
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return &control.Libraries{
		Search: store.String(settings.DynamicLibraryPath), Libdir: library.DefaultLibdir(program), CompiledIn: plugins.Libraries(),
	}, nil
}

// pluginRows compares what the host knows with what there is now.
func pluginRows(known *control.Libraries) ([]pluginRow, error) {
	path := library.Path{Search: known.Search, Libdir: known.Libdir, CompiledIn: known.CompiledIn}
	rows := []pluginRow{} // an empty array, not null
	taken := make(map[string]bool)
	for _, l := range known.Preloaded {
		taken[l.Name] = true
		if l.Build.CompiledIn != "" {
			taken[l.Build.CompiledIn] = true
		}
		rows = append(rows, preloadedRow(l, path))
	}
	available, err := path.Available()
	for _, c := range available {
		if taken[c.Name] {
			continue
		}
		row := pluginRow{Name: c.Name, Build: control.BuildOf(c.File, c.Program), State: pluginAvailable}
		if c.CompiledIn {
			row.CompiledIn = c.Name
		}
		if c.Problem != nil {
			row.State, row.Reason = pluginUnusable, c.Problem.Message
		}
		rows = append(rows, row)
	}
	return rows, err
}

// preloadedRow is that of a library of shared_preload_libraries.
func preloadedRow(l control.Library, path library.Path) pluginRow {
	row := pluginRow{
		Name: l.Name, Build: l.Build, State: pluginLoaded, LoadedAt: &l.LoadedAt,
		Workers: l.Workers, Functions: l.Functions, Settings: l.Settings,
	}
	at, err := path.Find(l.Name)
	switch {
	case l.LeftOut != nil:
		row.State, row.Reason, row.LoadedAt = pluginLeftOut, l.LeftOut.Message, nil
	case err != nil:
		row.State, row.Reason = pluginMissing, "a reload would fail: "+err.Error()
	case at.CompiledIn != l.Build.CompiledIn, at.File != l.Build.File:
		row.State, row.Reason = pluginReplaced, "the name leads to "+describeLocation(at)+" now"
	case at.File != "":
		if now, err := library.IdentityOf(at.File); err == nil && now != l.Identity {
			row.State, row.Reason = pluginReplaced, replacedBy(l, at.File)
		}
	}
	return row
}

func describeLocation(at library.Location) string {
	if at.CompiledIn != "" {
		return "the host itself"
	}
	return at.File
}

// replacedBy says what there is in the place of a library's file.
func replacedBy(l control.Library, file string) string {
	program, err := library.Inspect(l.Name, file)
	if err != nil {
		return "a reload would fail: " + err.Error()
	}
	if is := control.BuildOf(file, program); is.Version != l.Build.Version || is.Revision != l.Build.Revision {
		return "a reload would use " + orUnknown(is.Version)
	}
	return "a reload would use the new file"
}

// tabulatePlugins prints a line for each library, and more lines for what there is
// to say of those that are loaded.
func tabulatePlugins(w io.Writer, rows []pluginRow) error {
	var lines strings.Builder
	table := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "NAME\tSTATE\tVERSION\tFROM\n")
	for _, r := range rows {
		from := r.File
		if r.CompiledIn != "" {
			from = "compiled in"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", printable(r.Name), strings.ReplaceAll(string(r.State), "_", " "), orDash(printable(r.Version)), orDash(printable(from)))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	head, rest, _ := strings.Cut(lines.String(), "\n")
	fmt.Fprintln(w, head)
	for _, r := range rows {
		head, rest, _ = strings.Cut(rest, "\n")
		fmt.Fprintln(w, head)
		for _, more := range []struct {
			what  string
			items []string
		}{{"workers", r.Workers}, {"functions", r.Functions}, {"settings", r.Settings}} {
			if len(more.items) > 0 {
				fmt.Fprintf(w, "  %s: %s\n", more.what, printable(strings.Join(more.items, ", ")))
			}
		}
		if r.Reason != "" {
			fmt.Fprintf(w, "  %s\n", printable(r.Reason))
		}
	}
	return nil
}
