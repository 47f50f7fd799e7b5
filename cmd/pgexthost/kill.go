package main

import (
	"context"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// killSignals are the signals that pg_ctl sends, in its order.
var killSignals = []struct {
	name   string
	signal unix.Signal
}{
	{"ABRT", unix.SIGABRT}, {"HUP", unix.SIGHUP}, {"INT", unix.SIGINT}, {"KILL", unix.SIGKILL},
	{"QUIT", unix.SIGQUIT}, {"TERM", unix.SIGTERM}, {"USR1", unix.SIGUSR1}, {"USR2", unix.SIGUSR2},
}

// runKill is "pgexthost kill".
func runKill(_ context.Context, args []string) error {
	names := make([]string, len(killSignals))
	for i, s := range killSignals {
		names[i] = s.name
	}
	flags := newFlags("kill", "SIGNALNAME PID", "Sends a signal to a process.\n\nAllowed signal names are:\n  "+strings.Join(names, " "))
	if err := parseWithArguments(flags, args, 2); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return subcommandError("kill", "missing arguments for kill mode")
	}
	sig, err := parseSignal(flags.Arg(0))
	if err != nil {
		return err
	}
	// Zero and negative numbers, which kill(2) takes for groups of processes,
	// are somebody's mistake.
	pid, err := strconv.ParseInt(flags.Arg(1), 10, 32)
	if err != nil || pid <= 0 {
		return subcommandError("kill", "invalid process ID \"%s\"", flags.Arg(1))
	}
	if err := unix.Kill(int(pid), sig); err != nil {
		return failure("could not send signal %d (PID: %d): %s", sig, pid, signalReason(err))
	}
	return nil
}

func parseSignal(name string) (unix.Signal, error) {
	for _, s := range killSignals {
		if s.name == name {
			return s.signal, nil
		}
	}
	return 0, subcommandError("kill", "unrecognized signal name \"%s\"", name)
}
