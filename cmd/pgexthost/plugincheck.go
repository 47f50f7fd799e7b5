package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// runPluginCheck is "pgexthost plugin check".
func runPluginCheck(ctx context.Context, args []string) error {
	flags := newFlags("plugin check", "FILE [-c NAME=VALUE]... [--json]",
		"Loads an executable as a host would that has it in shared_preload_libraries: looks\n"+
			"at it, starts it, shakes hands, and has it run its Init. Tells what it is, or why a\n"+
			"host would not load it. The exit code is 0 if a host would.")
	options := settingsFlag(flags)
	asJSON := flags.Bool("json", false, "print a JSON object")
	if err := parseWithArguments(flags, args, 1); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return subcommandError(flags.Name(), "no file specified")
	}
	c, err := host.CheckLibrary(ctx, flags.Arg(0), *options)
	if err != nil {
		return elog.AsErrorData(err, elog.Error)
	}
	if *asJSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(checkToJSON(c))
	} else {
		err = printCheck(os.Stdout, flags.Arg(0), c)
		for _, problem := range c.Problems {
			printReport(os.Stderr, problem)
		}
	}
	if err == nil && !c.Loadable() {
		err = exitStatus(1)
	}
	return err
}

// printCheck prints what is known of the library; what is wrong with it is for
// standard error.
func printCheck(w io.Writer, file string, c *host.LibraryCheck) error {
	out := bufio.NewWriter(w)
	verdict := "a host would load it"
	if !c.Loadable() {
		verdict = "a host would not load it"
	}
	fmt.Fprintf(out, "%s: %s\n", file, verdict)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(out, "  %-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	if c.Name != "" {
		line("library", "%s, started in %v", c.Name, c.Took.Round(time.Millisecond))
	}
	if c.Package != "" {
		line("program", "%s, %s", c.Package, versionText(c))
		line("built with", "pgexthost %s (protocol %d, plugin ABI %d), %s", c.Built, c.Protocol, c.ABI, c.GoVersion)
	}
	if len(c.Functions) > 0 {
		line("functions", "%s", strings.Join(c.Functions, ", "))
	}
	for _, b := range c.Workers {
		line("worker", "%s: %s, %s, %s", b.Name, b.FunctionName, startText(b.StartTime), restartText(b.RestartTime))
	}
	for _, s := range c.Settings {
		line("setting", "%s = %s (%s, %s)", s.Name, quoteEmpty(s.Default), s.Type, s.Context)
	}
	for text := range strings.Lines(shorten(c.Stderr, mostLines)) {
		line("it says", "%s", strings.TrimRight(text, "\n"))
	}
	return out.Flush()
}

// mostLines is how many lines of what a library says are shown.
const mostLines = 20

// shorten returns the beginning of a text.
func shorten(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	if len(all) <= lines+1 {
		return text
	}
	return strings.Join(all[:lines], "") + "…"
}

func versionText(c *host.LibraryCheck) string {
	text := "version " + c.Version
	if c.Version == "" {
		text = "no version"
	}
	if c.Revision != "" {
		text += ", revision " + c.Revision
	}
	return text
}

func startText(s plugins.StartTime) string {
	switch s {
	case plugins.StartAtPostmasterStart:
		return "starts with the host"
	case plugins.StartAtConsistentState:
		return "starts when the server accepts connections"
	case plugins.StartAtRecoveryFinished:
		return "starts when the server accepts writes"
	}
	return s.String()
}

func restartText(seconds int) string {
	if seconds == plugins.NeverRestart {
		return "never restarts"
	}
	return fmt.Sprintf("restarts after %d s", seconds)
}

// checkJSON is what "plugin check --json" prints.
type checkJSON struct {
	File      string         `json:"file"`
	Loadable  bool           `json:"loadable"`
	Name      string         `json:"name"`
	Package   string         `json:"package"`
	Module    string         `json:"module"`
	Version   string         `json:"version"`
	Revision  string         `json:"revision"`
	Built     string         `json:"built_with"`
	GoVersion string         `json:"go_version"`
	Protocol  int            `json:"protocol"`
	ABI       int            `json:"abi"`
	TookMS    int64          `json:"took_ms"`
	Functions []string       `json:"functions"`
	Workers   []workerJSON   `json:"workers"`
	Settings  []host.Setting `json:"settings"`
	Problems  []problemJSON  `json:"problems"`
	Stdout    string         `json:"stdout"`
	Stderr    string         `json:"stderr"`
}

type workerJSON struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Library     string `json:"library"`
	Function    string `json:"function"`
	StartTime   string `json:"start_time"`
	RestartTime int    `json:"restart_time"` // in seconds; -1: never
}

type problemJSON struct {
	Level    string        `json:"level"`
	SQLState elog.SQLState `json:"sqlstate"`
	Message  string        `json:"message"`
	Detail   string        `json:"detail,omitempty"`
	Hint     string        `json:"hint,omitempty"`
}

func checkToJSON(c *host.LibraryCheck) checkJSON {
	out := checkJSON{
		File: c.File, Loadable: c.Loadable(), Name: c.Name, Package: c.Package, Module: c.Module, Version: c.Version, Revision: c.Revision,
		Built: c.Built, GoVersion: c.GoVersion, Protocol: c.Protocol, ABI: c.ABI, TookMS: c.Took.Milliseconds(),
		Functions: append([]string{}, c.Functions...), Workers: []workerJSON{}, Settings: append([]host.Setting{}, c.Settings...), Problems: []problemJSON{},
		Stdout: c.Stdout, Stderr: c.Stderr,
	}
	for _, w := range c.Workers {
		out.Workers = append(out.Workers, workerJSON{w.Name, w.Type, w.LibraryName, w.FunctionName, w.StartTime.String(), w.RestartTime})
	}
	for _, p := range c.Problems {
		out.Problems = append(out.Problems, problemJSON{p.Level.String(), p.Code, p.Message, p.Detail, p.Hint})
	}
	return out
}
