package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/gateway"
)

const configUsage = `Usage:
  pgexthost config check -D DIR [-c NAME=VALUE]...
  pgexthost config show -D DIR [-c NAME=VALUE]... [--json] [NAME]...

"check" reads the configuration as a host would that is started now, and tells
what is wrong with it. "show" shows the settings with which the host runs, or
would run. Each has a --help of its own.
`

// runConfig is "pgexthost config".
func runConfig(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return subcommandError("config", "no subcommand: check or show?")
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	switch args[0] {
	case "check":
		return runConfigCheck(ctx, args[1:])
	case "show":
		return runConfigShow(ctx, args[1:])
	case "--help", "-?", "-h":
		fmt.Print(configUsage)
		return pflag.ErrHelp
	}
	return subcommandError("config", "unrecognized subcommand \"%s\" of config", args[0])
}

// runConfigCheck is "pgexthost config check".
func runConfigCheck(ctx context.Context, args []string) error {
	flags := newFlags("config check", "-D DIR [-c NAME=VALUE]...",
		"Reads the configuration files and runs the Init of each preloaded library, as a\n"+
			"host would that is started now, and tells what is wrong. The host, if it runs, is\n"+
			"not disturbed. The exit code is 0 if the configuration is as it should be.")
	var dir string
	dataDirFlag(flags, &dir)
	options := settingsFlag(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := requireDataDir(flags, dir); err != nil {
		return err
	}
	found, err := host.Inspect(ctx, host.Options{DataDir: dir, Settings: *options})
	if err != nil {
		return err
	}
	bad := false
	for _, problem := range slices.Concat(found.Problems, checkConninfo(found), checkCertificate(dir, found)) {
		printReport(os.Stderr, problem)
		bad = bad || problem.Level >= elog.Warning || problem.Code != elog.SuccessfulCompletion
	}
	if bad {
		return exitStatus(1)
	}
	fmt.Printf("The configuration of %s is valid.\n", dir)
	running, _, err := runningSettings(dir)
	if err != nil {
		return nil // what a host makes of it that does not run, we have seen
	}
	for _, name := range needRestart(running, found.Settings) {
		fmt.Printf("A change of \"%s\" takes effect when the host is restarted.\n", name)
	}
	return nil
}

// checkConninfo returns what the server monitor of a host would complain about
// before it even tried to connect.
func checkConninfo(found *host.Inspection) []*elog.ErrorData {
	_, err := connect.ParseConninfo(found.ServerConninfo)
	if err == nil {
		return nil
	}
	problem := *elog.AsErrorData(err, elog.Error)
	problem.Message = fmt.Sprintf("invalid value for parameter \"%s\": %s", settings.ServerConninfo, problem.Message)
	problem.Context = placeOf(setting(found, settings.ServerConninfo))
	return []*elog.ErrorData{&problem}
}

// checkCertificate returns what the gateway of a host would complain about before
// it listened on its addresses.
func checkCertificate(dir string, found *host.Inspection) []*elog.ErrorData {
	if setting(found, settings.SSL).Value != "on" || setting(found, settings.ListenAddresses).Value == "" {
		return nil
	}
	inDir := func(name string) string {
		file := setting(found, name).Value
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		return file
	}
	err := gateway.CheckCertificate(inDir(settings.SSLCertFile), inDir(settings.SSLKeyFile))
	if err == nil {
		return nil
	}
	problem := *elog.AsErrorData(err, elog.Error)
	problem.Level = elog.Error
	problem.Hint = "Put it right, or set \"ssl\" to off."
	problem.Context = placeOf(setting(found, settings.SSL))
	return []*elog.ErrorData{&problem}
}

func setting(found *host.Inspection, name string) (s host.Setting) {
	if i := slices.IndexFunc(found.Settings, func(s host.Setting) bool { return s.Name == name }); i >= 0 {
		s = found.Settings[i]
	}
	return s
}

// placeOf says where a setting is made, or is empty.
func placeOf(s host.Setting) string {
	if s.File == "" {
		return ""
	}
	return fmt.Sprintf("line %d of configuration file \"%s\"", s.Line, s.File)
}

// needRestart returns the names of settings that a running host keeps at
// another value than it would have after a restart.
func needRestart(running, next []host.Setting) []string {
	values := make(map[string]host.Setting, len(running))
	for _, s := range running {
		values[s.Name] = s
	}
	var names []string
	for _, s := range next {
		now, known := values[s.Name]
		if known && s.Context == "postmaster" && now.Value != s.Value && now.Source != "command line" {
			names = append(names, s.Name)
		}
	}
	return names
}

// runConfigShow is "pgexthost config show".
func runConfigShow(ctx context.Context, args []string) error {
	flags := newFlags("config show", "-D DIR [-c NAME=VALUE]... [--json] [NAME]...",
		"Shows the settings with which the host runs: value, context and source of each,\n"+
			"and whether a change waits for a restart. If the host does not run, shows those\n"+
			"with which it would start. With NAMEs, shows these settings in full.")
	var dir string
	dataDirFlag(flags, &dir)
	options := settingsFlag(flags)
	asJSON := flags.Bool("json", false, "print a JSON array")
	if err := parseWithArguments(flags, args, math.MaxInt); err != nil {
		return err
	}
	if err := requireDataDir(flags, dir); err != nil {
		return err
	}
	all, err := currentSettings(ctx, dir, *options)
	if err != nil {
		return err
	}
	names := flags.Args()
	if all, err = selectSettings(all, names); err != nil {
		return err
	}
	switch {
	case *asJSON:
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	case len(names) > 0:
		return printSettings(os.Stdout, all)
	}
	return tabulateSettings(os.Stdout, all)
}

func settingsFlag(flags *pflag.FlagSet) *[]string {
	return flags.StringArrayP("set", "c", nil, "a setting, `NAME=VALUE`, as on the command line of the host")
}

// errNotRunning says that no host is there to ask.
var errNotRunning = errors.New("no server running")

// runningSettings returns the settings of the host that runs in a directory,
// and its pid.
func runningSettings(dir string) ([]host.Setting, int, error) {
	c, err := lockfile.Read(dir)
	if err != nil {
		return nil, 0, errNotRunning
	}
	p, err := c.Holder()
	if err == nil {
		p.Close()
	}
	if errors.Is(err, lockfile.ErrGone) || c.Status == lockfile.Starting {
		return nil, 0, errNotRunning
	}
	// What we can't reach, for instance in a container, we can ask all the same.
	all, err := host.RunningSettings(dir)
	if errors.Is(err, fs.ErrNotExist) && !isUp(dir) {
		return nil, 0, errNotRunning // it has just taken them away
	}
	return all, c.Pid, err
}

// isUp reports whether the lock file is that of a host which is not stopping.
func isUp(dir string) bool {
	c, err := lockfile.Read(dir)
	return err == nil && c.Status.Up()
}

// currentSettings returns the settings of the running host, or else those it
// would start with.
func currentSettings(ctx context.Context, dir string, options []string) ([]host.Setting, error) {
	if err := checkVisit(dir); err != nil {
		return nil, err
	}
	all, pid, err := runningSettings(dir)
	if err == nil {
		if len(options) > 0 {
			return nil, elog.New(elog.Error, elog.InvalidParameterValue, "the host is running (PID %d), -c has no effect on it", pid).
				WithHint("Without -c, this shows the settings that it runs with.")
		}
		return all, nil
	}
	if !errors.Is(err, errNotRunning) {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "pgexthost: no server running, showing what it would start with\n")
	found, err := host.Inspect(ctx, host.Options{DataDir: dir, Settings: options})
	if err != nil {
		return nil, err
	}
	for _, problem := range found.Problems {
		printReport(os.Stderr, problem)
	}
	return found.Settings, nil
}

func selectSettings(all []host.Setting, names []string) ([]host.Setting, error) {
	if len(names) == 0 {
		return all, nil
	}
	var selected []host.Setting
	for _, name := range names {
		found := false
		for _, s := range all {
			if strings.EqualFold(s.Name, name) {
				selected, found = append(selected, s), true
			}
		}
		if !found {
			return nil, elog.New(elog.Error, elog.UndefinedObject, "unrecognized configuration parameter \"%s\"", name)
		}
	}
	return selected, nil
}

// tabulateSettings prints a line for each setting.
func tabulateSettings(w io.Writer, all []host.Setting) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "NAME\tVALUE\tCONTEXT\tSOURCE\n")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.Name, shownValue(s), s.Context, shownSource(s))
	}
	return table.Flush()
}

// printSettings prints all there is to know about each setting.
func printSettings(w io.Writer, all []host.Setting) error {
	out := bufio.NewWriter(w)
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s = %s\n", s.Name, shownValue(s))
		if s.Description != "" {
			fmt.Fprintf(out, "  %s\n", s.Description)
		}
		fmt.Fprintf(out, "  source:   %s\n  context:  %s\n  default:  %s\n", shownSource(s), shownContext(s), quoteEmpty(s.Default))
	}
	return out.Flush()
}

func shownValue(s host.Setting) string {
	if s.Hidden {
		return "(hidden: it may hold a password)"
	}
	return quoteEmpty(s.Value)
}

// quoteEmpty makes an empty value visible, and keeps one with line ends on its
// line.
func quoteEmpty(value string) string {
	if value == "" {
		return "''"
	}
	return strings.NewReplacer("\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(value)
}

func shownSource(s host.Setting) string {
	source := s.Source
	if s.File != "" {
		source = fmt.Sprintf("%s:%d", s.File, s.Line)
	}
	if s.PendingRestart {
		source += " (pending restart)"
	}
	if s.Undefined {
		source += " (not defined by any library)"
	}
	return source
}

// shownContext says when a setting can change.
func shownContext(s host.Setting) string {
	switch s.Context {
	case "postmaster":
		return "postmaster (a change requires a restart)"
	case "sighup":
		return "sighup (a change takes effect at a reload)"
	case "backend", "superuser-backend":
		return s.Context + " (a change takes effect in workers started after a reload)"
	}
	return s.Context
}
