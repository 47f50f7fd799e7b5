package elog_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestHandlerPassesSlogtest(t *testing.T) {
	var buf *bytes.Buffer
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		if strings.HasSuffix(t.Name(), "/zero-time") {
			t.Skip("a report has the time at which it is written")
		}
		var l *elog.Logger
		l, buf = aLogger("", elog.DestinationJSONLog)
		return elog.NewHandler(l)
	}, func(t *testing.T) map[string]any {
		line := decodeLines(t, buf.Bytes())[0]
		fields := map[string]any{slog.TimeKey: line["timestamp"], slog.LevelKey: line["error_severity"], slog.MessageKey: line["message"]}
		detail, _ := line["detail"].(string)
		for _, pair := range strings.Fields(detail) {
			key, value, _ := strings.Cut(pair, "=")
			group := fields
			path := strings.Split(key, ".")
			for _, name := range path[:len(path)-1] {
				inner, ok := group[name].(map[string]any)
				if !ok {
					inner = make(map[string]any)
					group[name] = inner
				}
				group = inner
			}
			group[path[len(path)-1]] = value
		}
		return fields
	})
}

func TestSlogLevels(t *testing.T) {
	l, buf := aLogger("", elog.DestinationStderr)
	logger := slog.New(elog.NewHandler(l))
	for level, want := range map[slog.Level]elog.Level{
		math.MinInt: elog.Debug5, -9: elog.Debug5, -8: elog.Debug5, -7: elog.Debug4, -6: elog.Debug3, -5: elog.Debug2,
		slog.LevelDebug: elog.Debug1, -1: elog.Debug1,
		slog.LevelInfo: elog.Log, 3: elog.Log, slog.LevelWarn: elog.Warning, 7: elog.Warning,
		slog.LevelError: elog.Error, 9: elog.Error, 12: elog.Error, math.MaxInt: elog.Error,
	} {
		buf.Reset()
		l.Configure("", want, elog.DestinationStderr)
		logger.Log(t.Context(), level, "x")
		if got := strings.TrimRight(want.String(), "12345") + ":  x\n"; buf.String() != got {
			t.Errorf("%d at log_min_messages = %v: got %q", level, want, buf)
		}
		if above := want + 1; above <= elog.Debug1 {
			l.Configure("", above, elog.DestinationStderr)
			if logger.Enabled(t.Context(), level) {
				t.Errorf("%d is logged at log_min_messages = %v", level, above)
			}
		}
	}
}

func TestSlogFollowsLogMinMessagesAtOnce(t *testing.T) {
	l, buf := aLogger("", elog.DestinationStderr)
	logger := slog.New(elog.NewHandler(l)).With("k", "v")
	for _, tt := range []struct {
		min  elog.Level
		want []slog.Level
	}{
		{elog.Warning, []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError}},
		{elog.Debug1, []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}},
		{elog.Error, []slog.Level{slog.LevelInfo, slog.LevelError}}, // LOG outranks ERROR
		{elog.Log, []slog.Level{slog.LevelInfo}},
		{elog.Fatal, nil},
	} {
		l.Configure("", tt.min, elog.DestinationStderr)
		buf.Reset()
		var enabled []slog.Level
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			logger.Log(t.Context(), level, "x")
			if logger.Enabled(t.Context(), level) {
				enabled = append(enabled, level)
			}
		}
		if fmt.Sprint(enabled) != fmt.Sprint(tt.want) || strings.Count(buf.String(), ":  x\n") != len(tt.want) {
			t.Errorf("%v: enabled %v, want %v; logged %q", tt.min, enabled, tt.want, buf)
		}
	}
}

type user struct{ name string }

func (u user) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", u.name), slog.Int("id", 7))
}

type nothing struct{}

func (nothing) LogValue() slog.Value { return slog.GroupValue() }

func TestSlogAttributesAreTheDetail(t *testing.T) {
	for _, tt := range []struct {
		log  func(*slog.Logger)
		want string
	}{
		{func(l *slog.Logger) { l.Info("x") }, ""},
		{func(l *slog.Logger) { l.Info("x", "a", 1, "b", "two words", "c", "", "d", "e=f") }, `a=1 b="two words" c="" d="e=f"`},
		{func(l *slog.Logger) { l.Info("x", []any{"a b", `"`, "line", "1\n2", "odd"}...) }, `"a b"="\"" line="1\n2" !BADKEY=odd`},
		{func(l *slog.Logger) { l.Info("x", "level", "l", "msg", "m", "time", "t") }, `level=l msg=m time=t`},
		{func(l *slog.Logger) { l.With("a", 1).With("b", 2).Info("x", "c", 3) }, `a=1 b=2 c=3`},
		{func(l *slog.Logger) { l.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h").Info("x", "c", 3) }, `a=1 g.b=2 g.h.c=3`},
		{func(l *slog.Logger) { l.WithGroup("g").WithGroup("").Info("x", "u", user{"me"}) }, `g.u.name=me g.u.id=7`},
		{func(l *slog.Logger) { l.WithGroup("g").Info("x") }, ""},
		{func(l *slog.Logger) { l.Info("x", "n", nothing{}, slog.Attr{}) }, ""},
		{func(l *slog.Logger) { l.Info("x", "e", errors.New("went wrong"), "n", nil) }, `e="went wrong" n=<nil>`},
		{func(l *slog.Logger) { l.Info("x", "d", 1500*time.Millisecond, "t", someTime) }, `d=1.5s t=2026-03-01T12:30:59.600Z`},
	} {
		l, buf := aLogger("", elog.DestinationStderr)
		tt.log(slog.New(elog.NewHandler(l)))
		want := "LOG:  x\n"
		if tt.want != "" {
			want += "DETAIL:  " + tt.want + "\n"
		}
		if buf.String() != want {
			t.Errorf("\n got %q\nwant %q", buf, want)
		}
	}
}

func TestLoggersOfOneOriginDoNotShareGroups(t *testing.T) {
	l, buf := aLogger("", elog.DestinationStderr)
	origin := slog.New(elog.NewHandler(l)).WithGroup("a").WithGroup("b").WithGroup("c")
	one, other := origin.WithGroup("one"), origin.WithGroup("other")
	one.Info("x", "k", 1)
	other.Info("x", "k", 1)
	if want := "LOG:  x\nDETAIL:  a.b.c.one.k=1\nLOG:  x\nDETAIL:  a.b.c.other.k=1\n"; buf.String() != want {
		t.Errorf("got %q", buf)
	}
}

// broken is an error whose methods panic, as those of a nil pointer do.
type broken struct{}

func (broken) Error() string    { panic("broken") }
func (broken) SQLState() string { panic("broken") }

func TestSlogErrorsGiveTheReportTheirSQLState(t *testing.T) {
	full := elog.New(elog.Fatal, elog.TooManyConnections, "sorry").WithDetail("D.").WithHint("H.")
	full.Context, full.Statement = "C", "SELECT 1"
	const rest = "HINT:  H.\nCONTEXT:  C\nSTATEMENT:  SELECT 1\n"
	for _, tt := range []struct {
		log  func(*slog.Logger)
		want string
	}{
		{func(l *slog.Logger) { l.Error("x", "err", coded("42P01")) }, "42P01 ERROR:  x\nDETAIL:  err=boom\n"},
		{func(l *slog.Logger) { l.Info("x", "err", fmt.Errorf("a: %w", coded("42P01"))) }, "42P01 LOG:  x\nDETAIL:  err=\"a: boom\"\n"},
		{func(l *slog.Logger) { l.Warn("x", "err", errors.New("plain")) }, "01000 WARNING:  x\nDETAIL:  err=plain\n"},
		{func(l *slog.Logger) { l.Warn("x", "err", coded("4")) }, "01000 WARNING:  x\nDETAIL:  err=boom\n"},
		{func(l *slog.Logger) { l.Error("x", "err", full, "n", 1) }, "53300 ERROR:  x\nDETAIL:  err=sorry n=1\n\tD.\n" + rest},
		{func(l *slog.Logger) { l.Error("x", "err", fmt.Errorf("a: %w", full)) }, "53300 ERROR:  x\nDETAIL:  err=\"a: sorry\"\n\tD.\n" + rest},
		{func(l *slog.Logger) { l.With("err", full).Error("x", "n", 1) }, "53300 ERROR:  x\nDETAIL:  err=sorry n=1\n\tD.\n" + rest},
		{func(l *slog.Logger) { l.WithGroup("g").Error("x", slog.Group("h", "err", full)) }, "53300 ERROR:  x\nDETAIL:  g.h.err=sorry\n\tD.\n" + rest},
		{func(l *slog.Logger) { l.With("a", full).Error("x", "b", coded("42P01")) }, "42P01 ERROR:  x\nDETAIL:  a=sorry b=boom\n\tD.\n" + rest},
		{func(l *slog.Logger) { l.Error("x", "a", coded("42P01"), "b", full) }, "42P01 ERROR:  x\nDETAIL:  a=boom b=\"sorry: D.\"\n"},
		{func(l *slog.Logger) { l.Warn("x", "err", elog.New(elog.Log, "", "m").WithHint("H.")) }, "01000 WARNING:  x\nDETAIL:  err=m\nHINT:  H.\n"},
		{func(l *slog.Logger) { l.Warn("x", "err", (*elog.ErrorData)(nil)) }, "01000 WARNING:  x\nDETAIL:  err=<nil>\n"},
		{func(l *slog.Logger) { l.Warn("x", "err", broken{}) }, "01000 WARNING:  x\nDETAIL:  err=\"%!v(PANIC=Error method: broken)\"\n"},
	} {
		l, buf := aLogger("", elog.DestinationStderr)
		l.Configure("%e ", elog.Warning, elog.DestinationStderr)
		tt.log(slog.New(elog.NewHandler(l)))
		code, _, _ := strings.Cut(tt.want, " ")
		got := strings.ReplaceAll(buf.String(), "\n"+code+" ", "\n") // shown once is enough
		if got != tt.want {
			t.Errorf("\n got %q\nwant %q", got, tt.want)
		}
	}
}

// chatty logs while it is being logged.
type chatty struct{ l *slog.Logger }

func (c chatty) LogValue() slog.Value {
	c.l.Info("inner")
	return slog.StringValue("outer")
}

func TestAValueMayLogWhileItIsBeingLogged(t *testing.T) {
	l, buf := aLogger("", elog.DestinationStderr)
	logger := slog.New(elog.NewHandler(l))
	logger.Info("x", "c", chatty{logger})
	if want := "LOG:  inner\nLOG:  x\nDETAIL:  c=outer\n"; buf.String() != want {
		t.Errorf("got %q", buf)
	}
}

func TestOneLoggerServesManyGoroutines(t *testing.T) {
	const goroutines, records = 8, 100
	var mu sync.Mutex
	seen := make(map[string]bool)
	l := elog.NewLogger(writerFunc(func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		seen[string(p)] = true
	}))
	l.Configure("", elog.Warning, elog.DestinationStderr)
	logger := slog.New(elog.NewHandler(l)).WithGroup("g")
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			own := logger.With("goroutine", g)
			for r := range records {
				own.Info("x", "record", r)
				l.Configure("", elog.Warning, elog.DestinationStderr)
			}
		})
	}
	wg.Wait()
	for g := range goroutines {
		for r := range records {
			if line := "LOG:  x\nDETAIL:  g.goroutine=" + strconv.Itoa(g) + " g.record=" + strconv.Itoa(r) + "\n"; !seen[line] {
				t.Fatalf("%q is missing", line)
			}
		}
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }
