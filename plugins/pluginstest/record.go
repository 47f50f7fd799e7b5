package pluginstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Record is one record of a worker's log, or of a host's.
type Record struct {
	Level     elog.Level    // 0 for a line that is no record, such as one of a stack that Go prints
	SQLState  elog.SQLState // 00000 if it is about no error
	Message   string
	Detail    string
	Hint      string
	Context   string
	Statement string
	Worker    string // the name of the worker that has logged it, or ""
	Pid       int    // of the process that has logged it
}

// String returns the record as the host's log shows it, without a prefix.
func (r Record) String() string {
	if r.Level == 0 {
		return r.Message
	}
	text := r.Level.String() + ":  " + r.Message
	for _, part := range [...]struct{ label, text string }{
		{"DETAIL", r.Detail}, {"HINT", r.Hint}, {"CONTEXT", r.Context}, {"STATEMENT", r.Statement},
	} {
		if part.text != "" {
			text += "\n" + part.label + ":  " + part.text
		}
	}
	return text
}

// logRecord is a record in the form of jsonlog.
type logRecord struct {
	Severity  string        `json:"error_severity"`
	StateCode elog.SQLState `json:"state_code"`
	Message   string        `json:"message"`
	Detail    string        `json:"detail"`
	Hint      string        `json:"hint"`
	Context   string        `json:"context"`
	Statement string        `json:"statement"`
	Worker    string        `json:"application_name"`
	Pid       int           `json:"pid"`
}

// logBook collects the records of one worker, or of one host, and shows them in the
// test's output as long as the test runs. It is safe for concurrent use.
type logBook struct {
	name string // of the worker; empty for a host

	mu      sync.Mutex
	t       testing.TB // nil once the test is over
	records []Record
	changed chan struct{} // closed, and made anew, at each record
}

func newLogBook(t testing.TB, name string) *logBook {
	return &logBook{t: t, name: name, changed: make(chan struct{})}
}

// Write takes one record: the logger writes each with one call.
func (b *logBook) Write(line []byte) (int, error) {
	r, err := parseRecord(line)
	if err != nil {
		return 0, fmt.Errorf("no record of jsonlog: %w", err)
	}
	b.add(r)
	return len(line), nil
}

func parseRecord(line []byte) (Record, error) {
	var raw logRecord
	if err := json.Unmarshal(bytes.TrimSpace(line), &raw); err != nil {
		return Record{}, err
	}
	r := Record{
		SQLState: raw.StateCode, Message: raw.Message, Detail: raw.Detail, Hint: raw.Hint,
		Context: raw.Context, Statement: raw.Statement, Worker: raw.Worker, Pid: raw.Pid,
	}
	r.Level, _ = elog.ParseLevel(raw.Severity)
	if r.SQLState == "" {
		r.SQLState = elog.SuccessfulCompletion
	}
	return r, nil
}

func (b *logBook) add(r Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = append(b.records, r)
	close(b.changed)
	b.changed = make(chan struct{})
	if b.t != nil {
		prefix := b.prefix(r) + "| "
		fmt.Fprintf(b.t.Output(), "%s%s\n", prefix, strings.ReplaceAll(r.String(), "\n", "\n"+prefix))
	}
}

// prefix says who has logged a record.
func (b *logBook) prefix(r Record) string {
	switch {
	case b.name != "":
		return b.name
	case r.Level == 0:
		return "host"
	case r.Worker == "":
		return fmt.Sprintf("host [%d]", r.Pid)
	default:
		return fmt.Sprintf("%s [%d]", r.Worker, r.Pid)
	}
}

// await waits until n records contain a text, and returns all that do. It returns
// fewer once ended is closed, or at the deadline, which over tells apart.
func (b *logBook) await(text string, n int, ended <-chan struct{}, deadline time.Time) (found []Record, over bool) {
	limit := time.After(time.Until(deadline))
	from := 0
	for {
		more, next, changed := b.find(text, from)
		if found, from = append(found, more...), next; len(found) >= n || over {
			return found, over
		}
		select {
		case <-changed:
		case <-ended:
			over = true // what it has logged last counts
		case <-limit:
			return found, false
		}
	}
}

// find returns the records from number from on whose text contains one, and how to
// learn of the next.
func (b *logBook) find(text string, from int) (found []Record, next int, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records[from:] {
		if strings.Contains(r.String(), text) {
			found = append(found, r)
		}
	}
	return found, len(b.records), b.changed
}

func (b *logBook) all() []Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Record(nil), b.records...)
}

// text returns all records, as String returns them.
func (b *logBook) text() string {
	var text strings.Builder
	for _, r := range b.all() {
		text.WriteString(r.String() + "\n")
	}
	return text.String()
}

// close ends the output: a test that is over must not be written to.
func (b *logBook) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t = nil
}
