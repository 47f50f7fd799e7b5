package elog

import (
	"io"
	"time"
)

// NewLoggerOf is NewLogger for a process with the given pid, which starts when
// the clock is first read.
func NewLoggerOf(w io.Writer, pid int, clock func() time.Time) *Logger {
	return newLogger(w, pid, clock)
}

// KeptBuffer returns how many bytes the logger holds on to between records.
func (l *Logger) KeptBuffer() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cap(l.buf)
}
