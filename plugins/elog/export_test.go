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
