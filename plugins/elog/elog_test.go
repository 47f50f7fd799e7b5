package elog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
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

func TestEmitIsOneWrite(t *testing.T) {
	w := &countingWriter{}
	elog.NewLogger(w).Emit(elog.New(elog.Log, "", "text").WithDetail("Detail.").WithHint("Hint."))
	if w.writes != 1 {
		t.Errorf("got %d writes, want 1", w.writes)
	}
}

type countingWriter struct{ writes int }

func (w *countingWriter) Write(p []byte) (int, error) { w.writes++; return len(p), nil }

func TestLinePrefixEscapes(t *testing.T) {
	for format, want := range map[string]string{
		"":             "LOG:  x\n",
		"%% ":          "% LOG:  x\n",
		"%a|%b|":       "app|client|LOG:  x\n",
		"%8b|":         "  client|LOG:  x\n",
		"%-8b|":        "client  |LOG:  x\n",
		"%l %e ":       "1 00000 LOG:  x\n",
		"[%u%d%r%h%z]": "[]LOG:  x\n",
		"%b|%q%a ":     "client|LOG:  x\n",
		"end%":         "endLOG:  x\n",
	} {
		var buf bytes.Buffer
		l := elog.NewLogger(&buf)
		l.Configure(format, elog.Warning)
		l.Identify("app", "client")
		l.Logf(elog.Log, "x")
		if buf.String() != want {
			t.Errorf("%q: got %q, want %q", format, buf.String(), want)
		}
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
	if got := elog.AsErrorData(inner, elog.Fatal); got.Level != elog.Fatal || got.Message != "inner" || got.Hint != "Hint." {
		t.Errorf("got %+v", got)
	}
	if inner.Level != elog.Error {
		t.Error("the original was changed")
	}
	got := elog.AsErrorData(fmt.Errorf("outer: %w", inner), elog.Error)
	if got.Message != "outer: inner" || got.Code != elog.InvalidName || got.Hint != "Hint." {
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
