package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
)

var twoWorkers = []control.Worker{
	{Slot: 0, Pid: 4711, Name: "collector of things", Type: "collector", Library: "things", Function: "collect_main", State: "running"},
	{Slot: 1, Name: "größe", Type: "größe", Library: "things", Function: "grow", State: "waiting", LastExit: "exited with exit code 1", Generation: 7},
}

func TestColumnsThatDoNotFitAreLeftOut(t *testing.T) {
	full := tableOf(twoWorkers, 0)
	wide := strings.SplitN(full, "\n", 2)[0]
	if titles := strings.Join(strings.Fields(wide), " "); titles != "SLOT GEN PID NAME TYPE LIBRARY FUNCTION STATE DATABASE WAIT EVENT STARTED RESTARTS LAST EXIT NEXT START" {
		t.Errorf("got %s", titles)
	}
	for _, tt := range []struct {
		width  int
		titles string
	}{
		{1000, strings.Join(strings.Fields(wide), " ")},
		{120, "SLOT GEN PID NAME TYPE LIBRARY FUNCTION STATE RESTARTS LAST EXIT"},
		{80, "SLOT PID NAME STATE RESTARTS LAST EXIT"},
		{60, "PID NAME STATE LAST EXIT"},
		{50, "PID NAME STATE"},
		{1, "PID NAME STATE"},
	} {
		got := tableOf(twoWorkers, tt.width)
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if titles := strings.Join(strings.Fields(lines[0]), " "); titles != tt.titles || len(lines) != 3 {
			t.Errorf("%d: got %q, want %s", tt.width, got, tt.titles)
		}
		for _, line := range lines {
			if tt.width > 1 && utf8.RuneCountInString(line) > tt.width {
				t.Errorf("%d: too wide: %s", tt.width, line)
			}
		}
	}
	// Letters outside ASCII take no more room than others.
	lines := strings.Split(tableOf(twoWorkers, 1), "\n")
	if lines[1] != "4711  collector of things  running" || lines[2] != "-     größe                waiting" {
		t.Errorf("got %q", lines)
	}
}

// A name is anything that has no NUL in it.
func TestNamesDoNotReachTheTerminalRaw(t *testing.T) {
	name := "a\x1b[2Jb\tc\nd\u009be"
	table := tableOf([]control.Worker{{Name: name, State: "running"}}, 0)
	if !strings.Contains(table, `a\x1b[2Jb\tc\nd\u009be`) || strings.Count(table, "\n") != 2 || strings.ContainsAny(table, "\x1b\t\u009b") {
		t.Errorf("got %q", table)
	}
}

// terminal is a pseudo-terminal with so many columns: its two ends.
func terminal(t *testing.T, columns uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	number, err := unlockTerminal(master)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func TestPsWatchesInPlaceOnATerminal(t *testing.T) {
	d := lister(t)
	master, slave := terminal(t, 80)
	cmd := program("ps", "-D", d.path, "--watch")
	cmd.Stdout = slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_ = slave.Close()
	waitFor(t, master, "\x1b[H\x1b[2JSLOT  ")
	waitFor(t, master, "worker_spi worker 1")
	waitFor(t, master, "\x1b[H\x1b[2JSLOT  ")
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
