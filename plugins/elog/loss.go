package elog

import "io"

// LineWriter passes writes on as they are, but begins a new line after one that
// was cut short, as the last one before a disk is full is: the record after that
// must not continue the half one. It is not safe for concurrent use.
type LineWriter struct {
	w    io.Writer
	torn bool // what was written last does not end with a line
}

// NewLineWriter returns a LineWriter that writes to w.
func NewLineWriter(w io.Writer) *LineWriter { return &LineWriter{w: w} }

// Write writes one record, which ends with a line break. It is one Write to the
// underlying writer, and its error is that one's.
func (l *LineWriter) Write(record []byte) (int, error) {
	text := record
	if l.torn {
		text = append([]byte{'\n'}, record...)
	}
	n, err := l.w.Write(text)
	if n > 0 {
		l.torn = text[n-1] != '\n'
	}
	return max(n-(len(text)-len(record)), 0), err
}

// LossReport is the report, at WARNING, that n records are missing from the log
// before it. The detail is a sentence that says why.
func LossReport(n int64, detail string) *ErrorData {
	message := "%d log records were dropped"
	if n == 1 {
		message = "%d log record was dropped"
	}
	return New(Warning, "", message, n).WithDetail("%s", detail)
}

// LossByError is the detail of a loss for which the operating system has
// returned an error.
func LossByError(err error) string { return "Could not write to the log: " + OSReason(err) + "." }
