package elog

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLinePrefix is the default of log_line_prefix.
const DefaultLinePrefix = "%m [%p] "

// Logger writes reports as PostgreSQL's log destinations stderr and jsonlog do.
// All methods are safe for concurrent use.
type Logger struct {
	w       *LineWriter // onto one that must not keep what it is given
	process process
	clock   func() time.Time
	config  atomic.Pointer[loggerConfig]

	mu    sync.Mutex // serialises writes and guards what follows
	lines uint64     // written in the form of stderr, for %l
	json  uint64     // records written in the form of jsonlog, for line_num
	buf   []byte     // the last record's, to be used again
	lost  int64      // records that could not be written, and that the log does not tell of yet
	cause error      // of the last loss
}

// process is what the log shows of the process and never changes.
type process struct {
	pid          int
	sessionID    string // of %c
	sessionStart string // of %s
}

type loggerConfig struct {
	prefix      string
	min         Level
	to          Destination
	application string
	backendType string
	leader      int // pid of a parallel worker's leader, or 0
}

// NewLogger returns a logger that writes to w with the default prefix,
// log_min_messages = warning and log_destination = stderr. w gets one Write
// for each record and form, and must not keep the bytes.
func NewLogger(w io.Writer) *Logger { return newLogger(w, os.Getpid(), time.Now) }

func newLogger(w io.Writer, pid int, clock func() time.Time) *Logger {
	started := clock()
	l := &Logger{w: NewLineWriter(w), clock: clock, process: process{
		pid:          pid,
		sessionID:    fmt.Sprintf("%x.%x", started.Unix(), pid),
		sessionStart: started.Format(timestampSeconds),
	}}
	l.config.Store(&loggerConfig{prefix: DefaultLinePrefix, min: Warning, to: DestinationStderr})
	return l
}

// Configure sets log_line_prefix, log_min_messages and log_destination, all at
// once.
func (l *Logger) Configure(prefix string, threshold Level, to Destination) {
	l.update(func(c *loggerConfig) { c.prefix, c.min, c.to = prefix, threshold, to })
}

// Identify sets the application name and the backend type of the process, which
// the prefix escapes %a and %b and the fields of jsonlog show.
func (l *Logger) Identify(application, backendType string) {
	l.update(func(c *loggerConfig) { c.application, c.backendType = application, backendType })
}

// SetLeader says that the process is a parallel worker and which process leads
// it, for %P and leader_pid. 0 means that it is none.
func (l *Logger) SetLeader(pid int) {
	l.update(func(c *loggerConfig) { c.leader = pid })
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
	return l.config.Load().enabled(level)
}

func (c *loggerConfig) enabled(level Level) bool {
	return c.to != 0 && level.LoggedAt(c.min)
}

// Logf writes one message without a SQLSTATE, detail or hint.
func (l *Logger) Logf(level Level, format string, args ...any) {
	if l.Enabled(level) {
		l.Emit(&ErrorData{Level: level, Message: fmt.Sprintf(format, args...)})
	}
}

// Emit writes one report if its level is enabled. It never fails: what can't be
// written is lost, but once there is room again the log says how much that was.
// Mirrors send_message_to_server_log.
func (l *Logger) Emit(e *ErrorData) {
	c := l.config.Load()
	if !c.enabled(e.Level) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost > 0 && l.confess(c) != nil {
		l.lost++ // there still is no room
		return
	}
	if l.lost, l.cause = 0, l.emit(c, e); l.cause != nil {
		l.lost = 1
	}
}

// confess says how much was lost, if that is to be said.
func (l *Logger) confess(c *loggerConfig) error {
	report := LossReport(l.lost, LossByError(l.cause))
	if !c.enabled(report.Level) {
		return nil
	}
	return l.emit(c, report)
}

// emit writes a report in each form.
func (l *Logger) emit(c *loggerConfig, e *ErrorData) error {
	r := record{loggerConfig: c, process: &l.process, now: l.clock(), report: e}
	var jsonErr, textErr error
	if c.to&DestinationJSONLog != 0 {
		l.json++
		jsonErr = l.write(r.appendJSON(l.buf[:0], l.json))
	}
	if c.to&DestinationStderr != 0 {
		b, lines := r.appendText(l.buf[:0], l.lines)
		l.lines = lines
		textErr = l.write(b)
	}
	return cmp.Or(jsonErr, textErr)
}

// keptBuffer is the size up to which the room of a record is used again.
const keptBuffer = 64 << 10

func (l *Logger) write(b []byte) error {
	_, err := l.w.Write(b)
	if cap(b) <= keptBuffer {
		l.buf = b
	}
	return err
}

// record is one report on its way to the log, with all that is shown of it.
type record struct {
	*loggerConfig
	process *process
	now     time.Time
	report  *ErrorData
}
