package plugins

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/version"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// describe says what the library is, what it has, and how it is run.
func (b byHand) describe() {
	s, err := newSolo(b.library, io.Discard, func() guc.Config { return guc.Config{} })
	if err == nil {
		s.collected.checkOnly = true // keep what there is to report
		err = s.load()
	}
	out := b.stdout
	fmt.Fprintf(out, "%s is a library of background workers for PostgreSQL, to be run by pgexthost.\n\n", b.library.Name)
	fmt.Fprintf(out, "Version:     %s\n", programVersion())
	fmt.Fprintf(out, "Plugin ABI:  %d (pgexthost %s, background workers of PostgreSQL %d)\n", ABIVersion, version.Number, version.Personality)
	b.describeFunctions()
	if err != nil {
		printReport(out, "\nIts Init fails, and no host would start with it:\n", elog.AsErrorData(err, elog.Error))
	}
	b.describeWorkers(s.collected.workers)
	for _, report := range s.collected.reports {
		printReport(out, "\nIts Init causes a report:\n", report)
	}
	b.describeSettings(s.collected.definitions)
	b.describeUse(s.collected.workers)
}

func printReport(out io.Writer, title string, e *elog.ErrorData) {
	fmt.Fprintf(out, "%s  %s:  %s\n", title, e.Level, indent(e.Message))
	if e.Detail != "" {
		fmt.Fprintf(out, "  DETAIL:  %s\n", indent(e.Detail))
	}
	if e.Hint != "" {
		fmt.Fprintf(out, "  HINT:  %s\n", indent(e.Hint))
	}
}

func indent(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") }

func (b byHand) describeFunctions() {
	fmt.Fprintf(b.stdout, "\nFunctions:\n")
	for _, name := range b.library.functionNames() {
		if slices.Contains(b.library.ManualSignals, name) {
			name += "   (starts with signals blocked)"
		}
		fmt.Fprintf(b.stdout, "  %s\n", name)
	}
}

func (b byHand) describeWorkers(workers []BackgroundWorker) {
	if len(workers) == 0 {
		return
	}
	fmt.Fprintf(b.stdout, "\nWorkers that it registers, if preloaded:\n")
	for _, w := range workers {
		restart := fmt.Sprintf("restarted after %d s", w.RestartTime)
		if w.RestartTime == NeverRestart {
			restart = "never restarted"
		}
		at := map[StartTime]string{
			StartAtPostmasterStart: "started with the host", StartAtConsistentState: "started when the server accepts connections",
			StartAtRecoveryFinished: "started when the server accepts writes",
		}[w.StartTime]
		fmt.Fprintf(b.stdout, "  %s\n      %s, %s, %s\n", w.Name, w.FunctionName, at, restart)
	}
}

func (b byHand) describeSettings(definitions []guc.Definition) {
	if len(definitions) == 0 {
		return
	}
	fmt.Fprintf(b.stdout, "\nSettings:\n")
	for _, d := range definitions {
		facts := []string{d.Type.String()}
		if limits := describeRange(d); limits != "" {
			facts = append(facts, limits)
		}
		facts = append(facts, "context "+d.Context.String())
		fmt.Fprintf(b.stdout, "  %s = %s   (%s)\n", d.Name, showDefault(d, d.Default), strings.Join(facts, ", "))
		if d.ShortDesc != "" {
			fmt.Fprintf(b.stdout, "      %s\n", d.ShortDesc)
		}
	}
}

// showDefault returns a value as a configuration file may have it, with its unit.
func showDefault(d guc.Definition, text string) string {
	d.ShowHook, d.CheckHook, d.AssignHook = nil, nil, nil
	shown := text
	if v, err := guc.Parse(d, text); err == nil {
		shown = v.Show()
	}
	if d.Type == guc.TypeBool || d.Type == guc.TypeInt && d.Unit == guc.UnitNone {
		return shown
	}
	return "'" + strings.ReplaceAll(shown, "'", "''") + "'"
}

// describeRange says which values a setting accepts, if not all of its type.
func describeRange(d guc.Definition) string {
	switch {
	case d.Type == guc.TypeEnum:
		return strings.Join(d.EnumOptions, " | ")
	case d.Type != guc.TypeInt || d.Min <= math.MinInt32 && d.Max >= math.MaxInt32:
		return ""
	}
	limit := func(n int64) string { return strings.Trim(showDefault(d, strconv.FormatInt(n, 10)), "'") }
	if d.Max >= math.MaxInt32 {
		return "at least " + limit(d.Min)
	}
	return limit(d.Min) + " .. " + limit(d.Max)
}

// describeUse says how the library is run, with its own names to copy.
func (b byHand) describeUse(workers []BackgroundWorker) {
	dir, file := "/path/to", b.program
	if program, err := os.Executable(); err == nil {
		dir, file = filepath.Split(program)
	}
	function := "FUNCTION"
	if len(workers) > 0 {
		function = workers[0].FunctionName
	} else if names := b.library.functionNames(); len(names) > 0 {
		function = names[0]
	}
	fmt.Fprintf(b.stdout, `
To run it under a host, say in pgexthost.conf where this file is, and its name:
  dynamic_library_path = '%s:$libdir'
  shared_preload_libraries = '%s'

To run one worker of it without a host, for instance under a debugger:
  %s --standalone %s --server "host=localhost dbname=postgres"

Options:
      --standalone FUNCTION   run a worker in this process; the library's own
                              registration of FUNCTION has the defaults
      --server CONNINFO       where PostgreSQL is: a libpq connection string or URI
                              (default: what PG* variables say)
  -c, --set NAME=VALUE        a setting, of the host or of this library
  -D, --pgdata DIR            a host's directory, to take its settings; read again
                              on SIGHUP
      --name NAME             the worker's name; if the library registers several
                              for FUNCTION, which of them
      --type TYPE             the worker's type
      --arg NUMBER            the main argument
      --extra TEXT            the extra data, a text of up to 128 bytes
  -V, --version               show the version and exit
  -?, --help                  show this help and exit
`, filepath.Clean(dir), file, b.program, function)
}

// programVersion is what the go command has written into this program of its
// version, and of Go's.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown (" + runtime.Version() + ")"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	vcs := make(map[string]string)
	for _, s := range info.Settings {
		vcs[s.Key] = s.Value
	}
	text := info.Main.Version
	if text == "" {
		text = "(devel)"
	}
	if revision := vcs["vcs.revision"]; revision != "" {
		text += ", revision " + revision
		if vcs["vcs.modified"] == "true" {
			text += " with changes"
		}
	}
	if info.Main.Path != "" {
		text += ", of " + info.Main.Path
	}
	return text + ", " + info.GoVersion
}
