package elog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestLogMinMessagesRanksLogBetweenErrorAndFatal(t *testing.T) {
	for _, tt := range []struct {
		level, threshold elog.Level
		want             bool
	}{
		{elog.Debug1, elog.Warning, false},
		{elog.Debug1, elog.Debug1, true},
		{elog.Debug2, elog.Debug1, false},
		{elog.Warning, elog.Warning, true},
		{elog.Log, elog.Warning, true},
		{elog.Log, elog.Error, true},
		{elog.Log, elog.Log, true},
		{elog.Log, elog.Fatal, false},
		{elog.Error, elog.Log, false},
		{elog.Fatal, elog.Log, true},
	} {
		if got := tt.level.LoggedAt(tt.threshold); got != tt.want {
			t.Errorf("%v at log_min_messages=%v: got %v, want %v", tt.level, tt.threshold, got, tt.want)
		}
	}
}

func TestEmitWritesPostgresLines(t *testing.T) {
	var buf bytes.Buffer
	l := elog.NewLogger(&buf)
	l.Emit(elog.New(elog.Error, elog.InvalidName, "bad\nname").WithDetail("It has %d lines.", 2).WithHint("Use one."))
	stamp := `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+ \[` + fmt.Sprint(os.Getpid()) + `\] `
	want := regexp.MustCompile("^" + stamp + "ERROR:  bad\n\tname\n" + stamp + "DETAIL:  It has 2 lines.\n" + stamp + "HINT:  Use one.\n$")
	if !want.MatchString(buf.String()) {
		t.Errorf("got\n%s", buf.String())
	}
}

func TestEmitIsOneWriteInEachForm(t *testing.T) {
	for to, want := range map[elog.Destination]int{
		elog.DestinationStderr: 1, elog.DestinationJSONLog: 1, elog.DestinationStderr | elog.DestinationJSONLog: 2, 0: 0,
	} {
		w := &countingWriter{}
		l := elog.NewLogger(w)
		l.Configure(elog.DefaultLinePrefix, elog.Warning, to)
		l.Emit(elog.New(elog.Log, "", "text").WithDetail("Detail.").WithHint("Hint."))
		if w.writes != want || l.Enabled(elog.Log) != (want > 0) {
			t.Errorf("%d: got %d writes, want %d", to, w.writes, want)
		}
	}
}

type countingWriter struct{ writes int }

func (w *countingWriter) Write(p []byte) (int, error) { w.writes++; return len(p), nil }

// As in PostgreSQL, only line breaks are made safe.
func TestControlCharactersReachStderrAsTheyAre(t *testing.T) {
	l, buf := aLogger("", elog.DestinationStderr)
	e := elog.New(elog.Error, "", "\x1b[31mred\a\r\n\n\xff").WithDetail("\nD.")
	e.Context, e.Statement = "C\nC", "SELECT\n1"
	l.Emit(e)
	want := "ERROR:  \x1b[31mred\a\r\n\t\n\t\xff\nDETAIL:  \n\tD.\nCONTEXT:  C\n\tC\nSTATEMENT:  SELECT\n\t1\n"
	if buf.String() != want {
		t.Errorf("got %q", buf.String())
	}
}

func TestStatementsAreLoggedFromErrorOnAndForLog(t *testing.T) {
	for level, want := range map[elog.Level]bool{
		elog.Debug1: false, elog.Notice: false, elog.Warning: false, elog.Log: true, elog.Error: true, elog.Fatal: true,
	} {
		l, buf := aLogger("", elog.DestinationStderr)
		l.Configure("", elog.Debug5, elog.DestinationStderr|elog.DestinationJSONLog)
		l.Emit(&elog.ErrorData{Level: level, Message: "x", Statement: "SELECT 1"})
		for _, form := range []string{"STATEMENT:  SELECT 1\n", `"statement":"SELECT 1"`} {
			if bytes.Contains(buf.Bytes(), []byte(form)) != want {
				t.Errorf("%v: got %q, wanted the statement: %v", level, buf.String(), want)
			}
		}
	}
}

func TestADisabledLevelAllocatesNothing(t *testing.T) {
	l, buf := aLogger("", elog.DestinationStderr)
	report := elog.New(elog.Debug1, "", "prepared")
	logger := slog.New(elog.NewHandler(l)).With("key", "value")
	for what, log := range map[string]func(){
		"Enabled":  func() { _ = l.Enabled(elog.Debug1) },
		"Emit":     func() { l.Emit(report) },
		"Emit new": func() { l.Emit(&elog.ErrorData{Level: elog.Debug1, Message: "new"}) },
		"Logf":     func() { l.Logf(elog.Debug1, "%s %d", "constant", 1) },
		"slog":     func() { logger.LogAttrs(context.Background(), slog.LevelDebug, "x", slog.Int("n", 1<<40)) },
	} {
		if n := testing.AllocsPerRun(100, log); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	if buf.Len() > 0 {
		t.Errorf("logged %q", buf)
	}
}

func TestARecordAllocatesNothing(t *testing.T) {
	for _, to := range []elog.Destination{elog.DestinationStderr, elog.DestinationJSONLog, both} {
		l := benchLogger(to)
		report := elog.New(elog.Log, "", "message").WithDetail("Detail.")
		l.Emit(report) // makes room for those that follow
		if n := testing.AllocsPerRun(100, func() { l.Emit(report) }); n != 0 {
			t.Errorf("%d: %v allocations", to, n)
		}
	}
}

func TestTheRoomOfAHugeRecordIsNotKept(t *testing.T) {
	l := benchLogger(both)
	l.Emit(elog.New(elog.Log, "", "message"))
	l.Emit(elog.New(elog.Log, "", "%s", strings.Repeat("x", 1<<20)))
	if kept := l.KeptBuffer(); kept == 0 || kept > 64<<10 {
		t.Errorf("%d bytes are kept", kept)
	}
}

type coded string

func (c coded) Error() string    { return "boom" }
func (c coded) SQLState() string { return string(c) }

func TestCodeOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want elog.SQLState
	}{
		{nil, elog.SuccessfulCompletion},
		{errors.New("plain"), elog.InternalError},
		{fmt.Errorf("wrapped: %w", coded("42P01")), "42P01"},
		{coded("short"[:3]), elog.InternalError},
		{elog.New(elog.Error, elog.InvalidName, "x"), elog.InvalidName},
	} {
		if got := elog.CodeOf(tt.err); got != tt.want {
			t.Errorf("CodeOf(%v) = %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestAsErrorDataKeepsTextsOfTheOutermostReportOnly(t *testing.T) {
	inner := elog.New(elog.Error, elog.InvalidName, "inner").WithHint("Hint.")
	inner.Context, inner.Statement = "Context", "SELECT 1"
	if got := elog.AsErrorData(inner, elog.Fatal); got.Level != elog.Fatal || got.Message != "inner" || got.Hint != "Hint." {
		t.Errorf("got %+v", got)
	}
	if inner.Level != elog.Error {
		t.Error("the original was changed")
	}
	got := elog.AsErrorData(fmt.Errorf("outer: %w", inner), elog.Error)
	if got.Message != "outer: inner" || got.Code != elog.InvalidName || got.Hint != "Hint." || got.Context != "Context" || got.Statement != "SELECT 1" {
		t.Errorf("got %+v", got)
	}
}

func TestParseLevel(t *testing.T) {
	for _, name := range elog.LevelNames() {
		if l, ok := elog.ParseLevel(name); !ok || !bytes.EqualFold([]byte(l.String()), []byte(name)) {
			t.Errorf("ParseLevel(%q) = %v, %v", name, l, ok)
		}
	}
	if l, ok := elog.ParseLevel("debug"); !ok || l != elog.Debug2 {
		t.Errorf("debug: got %v, %v", l, ok)
	}
	if _, ok := elog.ParseLevel("loud"); ok {
		t.Error("an unknown level was accepted")
	}
}
