package host

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// logWriter stands between the host's log and the descriptor it goes to, so
// that a pipe nobody reads can't stop the event loop, and with it every
// shutdown. Records are written in order, one Write each, by a goroutine of its
// own; if that falls too far behind, or if they can't be written, as on a full
// disk, records are dropped and counted.
type logWriter struct {
	records chan []byte
	dropped atomic.Int64                 // for want of room among the records
	onLoss  func(report *elog.ErrorData) // logs the loss; set before the first Write
	quit    chan struct{}                // closed: write what is queued, and end
	done    chan struct{}                // closed: all is written
}

// logBacklog is how many records may wait to be written, and logFarewell how
// long the end of the host waits for them.
const (
	logBacklog  = 4096
	logFarewell = 2 * time.Second
)

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{records: make(chan []byte, logBacklog), quit: make(chan struct{}), done: make(chan struct{})}
	go l.run(elog.NewLineWriter(w))
	return l
}

func (l *logWriter) run(w *elog.LineWriter) {
	defer close(l.done)
	var failed loss
	for {
		select {
		case record := <-l.records:
			l.write(w, record, &failed)
		case <-l.quit:
			for {
				select {
				case record := <-l.records:
					l.write(w, record, &failed)
				default:
					return
				}
			}
		}
	}
}

// loss is what could not be written since the last record that could.
type loss struct {
	records int64
	cause   error
}

// write writes one record. What was lost is told after the first record that is
// written again.
func (l *logWriter) write(w *elog.LineWriter, record []byte, failed *loss) {
	if _, err := w.Write(record); err != nil {
		failed.records, failed.cause = failed.records+1, err
		return
	}
	if len(l.records) > logBacklog/2 {
		return // word of a loss must not get lost itself, so it waits for some room
	}
	if n := failed.records; n > 0 {
		failed.records = 0
		l.onLoss(elog.LossReport(n, elog.LossByError(failed.cause)))
	}
	if n := l.dropped.Swap(0); n > 0 {
		l.onLoss(elog.LossReport(n, "Nobody was reading the log of the host."))
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
