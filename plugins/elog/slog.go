package elog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// NewHandler returns a handler that writes the records of package slog as
// reports of l. A record's message is the report's, and its attributes, as
// slog's own text handler writes them (key=value, groups dotted), its DETAIL.
//
// The levels: slog.LevelDebug is DEBUG1, and each step below it one more, down
// to DEBUG5; slog.LevelInfo is LOG, because PostgreSQL's INFO is for clients and
// not logged by default; slog.LevelWarn is WARNING; slog.LevelError and all
// above it is ERROR, never FATAL. Levels in between count as the one below
// them. What is enabled follows log_min_messages at once, with its peculiarity
// that LOG outranks ERROR.
//
// An attribute that is an error with a SQLSTATE, be it an *ErrorData or one of
// the server's, gives the report its code; an *ErrorData also its DETAIL (below
// the attributes), HINT, CONTEXT and STATEMENT. To log these of a server's error,
// pass what connect.AsErrorData makes of it. The first one counts, but one of
// the record outranks one of With. The time and the source of a record are not
// shown: the report gets its time when it is written.
//
// The handler is safe for concurrent use and its errors are always nil.
func NewHandler(l *Logger) slog.Handler { return &handler{log: l} }

type handler struct {
	log    *Logger
	groups []string   // of WithGroup, outermost first
	attrs  string     // of WithAttrs, as text
	cause  *ErrorData // from the first error among them that is a report
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return h.log.Enabled(levelOf(level))
}

// levelOf maps slog's levels to PostgreSQL's.
func levelOf(level slog.Level) Level {
	switch {
	case level >= slog.LevelError:
		return Error
	case level >= slog.LevelWarn:
		return Warning
	case level >= slog.LevelInfo:
		return Log
	}
	return max(Debug1+Level(min(level, slog.LevelDebug)-slog.LevelDebug), Debug5)
}

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	text, cause := h.format(attrs)
	e := ErrorData{Level: levelOf(r.Level), Message: r.Message, Detail: join(h.attrs, " ", text)}
	for _, c := range [...]*ErrorData{cause, h.cause} {
		if c != nil {
			e.Code, e.Hint = cmp.Or(e.Code, c.Code), cmp.Or(e.Hint, c.Hint)
			e.Context, e.Statement = cmp.Or(e.Context, c.Context), cmp.Or(e.Statement, c.Statement)
			e.Detail = join(e.Detail, "\n", c.Detail)
		}
	}
	h.log.Emit(&e)
	return nil
}

func join(a, separator, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + separator + b
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	text, cause := h.format(attrs)
	next := *h
	next.attrs = join(h.attrs, " ", text)
	if next.cause == nil {
		next.cause = cause
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.groups = append(slices.Clip(h.groups), name)
	return &next
}

// format returns the attributes as text, and the first error among them that is
// a report or has a SQLSTATE. The text is slog's own: a text handler writes a
// record that has nothing else, and the constant part is cut off.
func (h *handler) format(attrs []slog.Attr) (text string, cause *ErrorData) {
	if len(attrs) == 0 {
		return "", nil
	}
	for _, group := range slices.Backward(h.groups) {
		attrs = []slog.Attr{slog.GroupAttrs(group, attrs...)}
	}
	r := slog.NewRecord(time.Time{}, slog.LevelInfo, "", 0)
	r.AddAttrs(attrs...)
	var out bytes.Buffer
	texts := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if cause != nil {
			return a
		}
		if cause = reportOf(a.Value); cause == nil {
			return a
		}
		return slog.String(a.Key, cause.Message) // its DETAIL has a line of its own
	}})
	_ = texts.Handle(context.Background(), r) // a Buffer takes everything
	const constant = `level=INFO msg=""`
	return strings.TrimSpace(strings.TrimPrefix(out.String(), constant)), cause
}

// reportOf returns an attribute's value as a report if it is an error that is
// one or has a SQLSTATE, and otherwise nil, also if the error's methods panic:
// logging never fails.
func reportOf(v slog.Value) (report *ErrorData) {
	if v.Kind() != slog.KindAny {
		return nil
	}
	err, ok := v.Any().(error)
	if !ok {
		return nil
	}
	defer func() {
		if recover() != nil {
			report = nil
		}
	}()
	code, coded := codeIn(err)
	var own *ErrorData
	if !coded && !errors.As(err, &own) {
		return nil
	}
	report = AsErrorData(err, Error)
	report.Code = code
	return report
}
