package host

import (
	"io"
	"sync/atomic"
	"time"
)

// logWriter stands between the host's log and the descriptor it goes to, so
// that a pipe nobody reads can't stop the event loop, and with it every
// shutdown. Records are written in order, one Write each, by a goroutine of its
// own; if that falls too far behind, records are dropped and counted.
type logWriter struct {
	records chan []byte
	dropped atomic.Int64
	onLoss  func(dropped int64) // logs the loss; set before the first Write
	quit    chan struct{}       // closed: write what is queued, and end
	done    chan struct{}       // closed: all is written
}

// logBacklog is how many records may wait to be written, and logFarewell how
// long the end of the host waits for them.
const (
	logBacklog  = 4096
	logFarewell = 2 * time.Second
)

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{records: make(chan []byte, logBacklog), quit: make(chan struct{}), done: make(chan struct{})}
	go l.run(w)
	return l
}

func (l *logWriter) run(w io.Writer) {
	defer close(l.done)
	for {
		select {
		case record := <-l.records:
			l.write(w, record)
		case <-l.quit:
			for {
				select {
				case record := <-l.records:
					l.write(w, record)
				default:
					return
				}
			}
		}
	}
}

func (l *logWriter) write(w io.Writer, record []byte) {
	_, _ = w.Write(record)
	// Word of a loss must not get lost itself, so it waits for some room.
	if l.dropped.Load() > 0 && len(l.records) <= logBacklog/2 {
		l.onLoss(l.dropped.Swap(0))
	}
}

// Write queues one record. It never blocks and never fails.
func (l *logWriter) Write(record []byte) (int, error) {
	select {
	case l.records <- append([]byte(nil), record...):
	default:
		l.dropped.Add(1)
	}
	return len(record), nil
}

// close waits, for a while, until all that is queued has been written. It is
// called once; what is written later is lost.
func (l *logWriter) close() {
	close(l.quit)
	select {
	case <-l.done:
	case <-time.After(logFarewell):
	}
}
