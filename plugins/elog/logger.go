package elog

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLinePrefix is the default of log_line_prefix.
const DefaultLinePrefix = "%m [%p] "

// Logger writes reports as PostgreSQL's stderr destination does. All methods
// are safe for concurrent use.
type Logger struct {
	mu      sync.Mutex // serialises writes and the line counter
	w       io.Writer
	lineNo  uint64
	started time.Time
	config  atomic.Pointer[loggerConfig]
}

type loggerConfig struct {
	prefix      string
	min         Level
	application string
	backendType string
}

// NewLogger returns a logger that writes to w with the default prefix and
// log_min_messages = warning.
func NewLogger(w io.Writer) *Logger {
	l := &Logger{w: w, started: time.Now()}
	l.config.Store(&loggerConfig{prefix: DefaultLinePrefix, min: Warning})
	return l
}

// Configure sets log_line_prefix and log_min_messages.
func (l *Logger) Configure(prefix string, threshold Level) {
	l.update(func(c *loggerConfig) { c.prefix, c.min = prefix, threshold })
}

// Identify sets what the prefix escapes %a (application name) and %b (backend
// type) stand for.
func (l *Logger) Identify(application, backendType string) {
	l.update(func(c *loggerConfig) { c.application, c.backendType = application, backendType })
}

func (l *Logger) update(change func(*loggerConfig)) {
	for {
		old := l.config.Load()
		next := *old
		change(&next)
		if l.config.CompareAndSwap(old, &next) {
			return
		}
	}
}

// Enabled reports whether a report of this level would be written, for callers
// that want to spare the work of making one.
func (l *Logger) Enabled(level Level) bool {
	return level.LoggedAt(l.config.Load().min)
}

// Logf writes one message without a SQLSTATE, detail or hint.
func (l *Logger) Logf(level Level, format string, args ...any) {
	if l.Enabled(level) {
		l.Emit(&ErrorData{Level: level, Message: fmt.Sprintf(format, args...)})
	}
}

// Emit writes one report if its level is enabled. Write errors are dropped.
func (l *Logger) Emit(e *ErrorData) {
	c := l.config.Load()
	if !e.Level.LoggedAt(c.min) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lineNo++
	_, _ = io.WriteString(l.w, l.format(c, e))
}

// format renders a report: the primary line, then DETAIL, HINT and CONTEXT on
// lines of their own, each with the prefix.
func (l *Logger) format(c *loggerConfig, e *ErrorData) string {
	prefix := linePrefix{
		format: c.prefix, now: time.Now(), started: l.started, pid: os.Getpid(), line: l.lineNo,
		application: c.application, backendType: c.backendType, code: e.codeOrDefault(),
	}.render()
	var b strings.Builder
	for _, part := range [...]struct{ label, text string }{
		{e.Level.String(), e.Message}, {"DETAIL", e.Detail}, {"HINT", e.Hint}, {"CONTEXT", e.Context},
	} {
		if part.text == "" && part.label != e.Level.String() {
			continue
		}
		b.WriteString(prefix)
		b.WriteString(part.label)
		b.WriteString(":  ")
		// Continuation lines start with a tab, so that no text can look like
		// a log line of its own.
		b.WriteString(strings.ReplaceAll(part.text, "\n", "\n\t"))
		b.WriteByte('\n')
	}
	return b.String()
}
