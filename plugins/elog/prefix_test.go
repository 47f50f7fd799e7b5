package elog_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// someTime is when the process of these tests starts; it logs half a second
// later.
var someTime = time.Date(2026, 3, 1, 12, 30, 59, 600_400_300, time.UTC)

// aLogger is that of process 4711, a worker of the type "client".
func aLogger(prefix string, to elog.Destination) (*elog.Logger, *bytes.Buffer) {
	var buf bytes.Buffer
	now := someTime
	l := elog.NewLoggerOf(&buf, 4711, func() time.Time {
		defer func() { now = now.Add(500 * time.Millisecond) }()
		return now
	})
	l.Configure(prefix, elog.Warning, to)
	l.Identify("app", "client")
	return l, &buf
}

func TestLinePrefixEscapes(t *testing.T) {
	for format, want := range map[string]string{
		"":                         "",
		"plain ":                   "plain ",
		"ä€ ":                      "ä€ ",
		"%%|%%%%":                  "%|%%",
		"%a|%b|%p|%l|%e":           "app|client|4711|1|42704",
		"%m|%t":                    "2026-03-01 12:31:00.100 UTC|2026-03-01 12:31:00 UTC",
		"%n|%s":                    "1772368260.100|2026-03-01 12:30:59 UTC",
		"%c":                       "69a43183.1267",
		"%x|%Q|%L":                 "0|0|[none]",
		"[%u%d%r%h%i%v%P]":         "[]",
		"[%3u%-3d%1r%0h%-1i%2v%P]": "[          ]", // ten
		"%8b|%-8b|%3b|%-3b":        "  client|client  |client|client",
		"%6p|%-6p|%06p|":           "  4711|4711  |  4711|",
		"%3l|%-3l|%7e|%3x|%-3Q|":   "  1|1  |  42704|  0|0  |",
		"%5a|%-5a|%8L|%-8L|":       "  app|app  |  [none]|[none]  |",
		"%30m|":                    "   2026-03-01 12:31:00.100 UTC|",
		"%-15c|%15n|":              "69a43183.1267  | 1772368260.100|",
		"%4P|":                     "    |",
		"%q%a":                     "",
		"%b %q%a":                  "client ",
		"%b %5q%a":                 "client ", // padded or not
		"end%":                     "end",
		"end%-":                    "end",
		"end%5":                    "end",
		"end%-5":                   "end",
		"%z|%Z|%5z|%-5!|%é":        "||||\xa9", // its first byte is the unknown escape
		"%5%|":                     "|",        // %% is one only without padding
		"% b|%+b":                  "b|b",      // unknown escapes: space and plus
		"%--5b|":                   "5b|",
		"%-%b":                     "b",
		"%5-3b":                    "3b",
	} {
		l, buf := aLogger(format, elog.DestinationStderr)
		l.Emit(elog.New(elog.Log, elog.UndefinedObject, "x"))
		if want += "LOG:  x\n"; buf.String() != want {
			t.Errorf("%q:\n got %q\nwant %q", format, buf.String(), want)
		}
	}
}

func TestLinePrefixShowsTheLeaderOfAParallelWorkerOnly(t *testing.T) {
	l, buf := aLogger("%P|%6P|%-6P|", elog.DestinationStderr)
	l.SetLeader(815)
	l.Logf(elog.Log, "x")
	l.SetLeader(0)
	l.Logf(elog.Log, "x")
	if want := "815|   815|815   |LOG:  x\n|      |      |LOG:  x\n"; buf.String() != want {
		t.Errorf("got %q", buf.String())
	}
}

func TestAbsurdPaddingIsCut(t *testing.T) {
	l, buf := aLogger("%99999999999999999999p%-99999999999999999999u|", elog.DestinationStderr)
	l.Logf(elog.Log, "x")
	if want := fmt.Sprintf("%1024d%1024s|LOG:  x\n", 4711, ""); buf.String() != want {
		t.Errorf("got %d bytes, want %d", buf.Len(), len(want))
	}
}

func TestLineNumbersCountLinesNotRecords(t *testing.T) {
	l, buf := aLogger("%l ", elog.DestinationStderr)
	l.Emit(elog.New(elog.Log, "", "a\nb").WithDetail("D.").WithHint("H."))
	l.Logf(elog.Debug1, "not logged")
	l.Logf(elog.Log, "c")
	if want := "1 LOG:  a\n\tb\n2 DETAIL:  D.\n3 HINT:  H.\n4 LOG:  c\n"; buf.String() != want {
		t.Errorf("got %q", buf.String())
	}
}

func TestSQLStateOfAReportWithoutOneFollowsItsLevel(t *testing.T) {
	l, buf := aLogger("%e ", elog.DestinationStderr)
	l.Configure("%e ", elog.Debug5, elog.DestinationStderr)
	for _, level := range []elog.Level{elog.Debug1, elog.Log, elog.Notice, elog.Warning, elog.Error, elog.Fatal} {
		l.Logf(level, "x")
	}
	want := "00000 DEBUG:  x\n00000 LOG:  x\n00000 NOTICE:  x\n01000 WARNING:  x\nXX000 ERROR:  x\nXX000 FATAL:  x\n"
	if buf.String() != want {
		t.Errorf("got %q", buf.String())
	}
}

func TestANewLoggerIsThatOfThisProcess(t *testing.T) {
	var buf bytes.Buffer
	l := elog.NewLogger(&buf)
	l.Configure("%p ", elog.Warning, elog.DestinationStderr)
	l.Logf(elog.Log, "x")
	if want := fmt.Sprintf("%d LOG:  x\n", os.Getpid()); buf.String() != want {
		t.Errorf("got %q", buf.String())
	}
}
