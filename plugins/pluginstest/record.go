package pluginstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Record is one record of a worker's log: what the host's log would have.
type Record struct {
	Level     elog.Level
	SQLState  elog.SQLState // 00000 if it is about no error
	Message   string
	Detail    string
	Hint      string
	Context   string
	Statement string
}

// String returns the record as the host's log shows it, without a prefix.
func (r Record) String() string {
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
}

// logBook collects the records of one worker, and shows them in the test's output
// as long as the test runs. It is safe for concurrent use.
type logBook struct {
	name string

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
	var raw logRecord
	if err := json.Unmarshal(bytes.TrimSpace(line), &raw); err != nil {
		return 0, fmt.Errorf("no record of jsonlog: %w", err)
	}
	level, _ := elog.ParseLevel(raw.Severity)
	r := Record{level, raw.StateCode, raw.Message, raw.Detail, raw.Hint, raw.Context, raw.Statement}
	if r.SQLState == "" {
		r.SQLState = elog.SuccessfulCompletion
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = append(b.records, r)
	close(b.changed)
	b.changed = make(chan struct{})
	if b.t != nil {
		prefix := b.name + "| "
		fmt.Fprintf(b.t.Output(), "%s%s\n", prefix, strings.ReplaceAll(r.String(), "\n", "\n"+prefix))
	}
	return len(line), nil
}

// find returns the first record from number on whose text contains one, and how
// to learn of the next.
func (b *logBook) find(text string, from int) (r Record, next int, changed <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range b.records[from:] {
		if strings.Contains(r.String(), text) {
			return r, from + i + 1, b.changed, true
		}
	}
	return Record{}, from, b.changed, false
}

func (b *logBook) all() []Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Record(nil), b.records...)
}

// close ends the output: a test that is over must not be written to.
func (b *logBook) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t = nil
}
