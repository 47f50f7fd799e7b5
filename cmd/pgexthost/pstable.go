package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
)

// showWorkers prints the workers once. Whoever watches a terminal sees them in
// place of those before; anything else gets one list after the other.
func showWorkers(out *os.File, workers []control.Worker, asJSON, watch bool) error {
	width := terminalWidth(out)
	var text bytes.Buffer
	switch {
	case watch && width > 0:
		text.WriteString("\x1b[H\x1b[2J") // the cursor to the top, and all below it away
	case watch:
		defer fmt.Fprintln(out) // between this list and the next
	}
	if asJSON {
		encoder := json.NewEncoder(&text)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(workers); err != nil {
			return err
		}
	} else {
		text.WriteString(tableOf(workers, width))
	}
	_, err := out.Write(text.Bytes())
	return err
}

// terminalWidth is how many columns a terminal has. It is 0 of what is none, or
// does not know.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// psColumn is a column of ps. Those of a higher rank are left out first.
type psColumn struct {
	title string
	rank  int // 0: never left out
	cell  func(control.Worker) string
}

var psColumns = []psColumn{
	{"SLOT", 5, func(w control.Worker) string { return strconv.Itoa(w.Slot) }},
	{"GEN", 11, func(w control.Worker) string { return strconv.FormatUint(w.Generation, 10) }},
	{"PID", 0, func(w control.Worker) string { return shownPid(w.Pid) }},
	{"NAME", 0, func(w control.Worker) string { return printable(w.Name) }},
	{"TYPE", 10, func(w control.Worker) string { return printable(w.Type) }},
	{"LIBRARY", 9, func(w control.Worker) string { return printable(w.Library) }},
	{"FUNCTION", 8, func(w control.Worker) string { return printable(w.Function) }},
	{"STATE", 0, func(w control.Worker) string { return w.State }},
	{"DATABASE", 7, func(w control.Worker) string { return dash(printable(w.Database)) }},
	{"WAIT EVENT", 3, func(w control.Worker) string { return dash(printable(w.WaitEvent)) }},
	{"STARTED", 4, func(w control.Worker) string { return shownTime(w.StartedAt) }},
	{"RESTARTS", 6, func(w control.Worker) string { return strconv.Itoa(w.Restarts) }},
	{"LAST EXIT", 1, func(w control.Worker) string { return dash(w.LastExit) }},
	{"NEXT START", 2, func(w control.Worker) string { return shownTime(w.NextStart) }},
}

// tableOf is a table of the workers, as wide as it has to be if width is 0. Else
// columns are left out until it fits: first those in which no worker has
// anything, then those that say least.
func tableOf(workers []control.Worker, width int) string {
	columns := make([]tableColumn, len(psColumns))
	total := -columnGap
	for i, c := range psColumns {
		columns[i] = newTableColumn(c, workers)
		total += columns[i].width + columnGap
	}
	for width > 0 && total > width {
		worst := -1
		for i, c := range columns {
			if !c.dropped && c.rank > 0 && (worst < 0 || c.weight() > columns[worst].weight()) {
				worst = i
			}
		}
		if worst < 0 {
			break // the rest is what it takes
		}
		columns[worst].dropped = true
		total -= columns[worst].width + columnGap
	}
	var text strings.Builder
	for row := range len(workers) + 1 {
		var line strings.Builder
		for _, c := range columns {
			if !c.dropped {
				fmt.Fprintf(&line, "%-*s", c.width+columnGap, c.cells[row])
			}
		}
		text.WriteString(strings.TrimRight(line.String(), " "))
		text.WriteByte('\n')
	}
	return text.String()
}

// columnGap is the room between two columns.
const columnGap = 2

// tableColumn is a column with its title and cells.
type tableColumn struct {
	cells   []string
	width   int
	rank    int
	blank   bool // it has nothing to say
	dropped bool
}

func newTableColumn(c psColumn, workers []control.Worker) tableColumn {
	t := tableColumn{cells: []string{c.title}, rank: c.rank, blank: true}
	for _, w := range workers {
		cell := c.cell(w)
		t.cells = append(t.cells, cell)
		t.blank = t.blank && cell == "-"
	}
	for _, cell := range t.cells {
		t.width = max(t.width, utf8.RuneCountInString(cell))
	}
	return t
}

// weight orders columns: the highest is left out first.
func (t tableColumn) weight() int {
	if t.blank {
		return t.rank + len(psColumns)
	}
	return t.rank
}

// printable keeps a name from moving the cursor, or worse: what is no character
// to be seen is shown as Go writes it.
func printable(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
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
	return text
}
