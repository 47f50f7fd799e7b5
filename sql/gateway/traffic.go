package gateway

import (
	"slices"
	"sync"
)

// traffic is what the two goroutines of a session tell each other.
//
// A *batch* is what the server answers with one ReadyForQuery: a Query, or what
// comes before a Sync. Both goroutines count batches, and so know which answer
// belongs to which statement.
type traffic struct {
	mu       sync.Mutex
	sent     int  // batches that the client has completed
	open     bool // it has begun another one
	answered int  // batches that the server has answered
	status   byte // of the transaction, as the last ReadyForQuery says: I, T or E
	calling  bool // a function waits for an answer of ours
	copying  bool // the server takes data, and no Sync
	doubtful doubt
	rewrites []rewrite
	injected *injection
}

// doubt is about Syncs that the client has sent between a statement and the data
// for it. If the statement does take data the server ignores them.
type doubt struct{ batch, syncs int }

// rewrite is a statement that the server has got in other words. Errors in it are
// at places that the client does not know.
type rewrite struct {
	batch    int
	parse    int // which Parse of the batch; 0 if it is a Query
	original func(position int) int
}

// begin notes that the client has begun a batch.
func (t *traffic) begin() {
	t.mu.Lock()
	t.open = true
	t.mu.Unlock()
}

// complete notes that the client has completed a batch.
func (t *traffic) complete() {
	t.mu.Lock()
	t.open = false
	t.sent++
	t.mu.Unlock()
}

// data notes that data for a COPY begin to come, after so many Syncs since the
// statement. Drivers that do not know what they have sent send such.
func (t *traffic) data(syncs int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if syncs == 0 {
		return
	}
	if t.copying {
		t.sent -= syncs
	} else {
		t.doubtful = doubt{batch: t.sent - syncs, syncs: syncs}
	}
	t.open = true
}

// copies notes that the server takes data.
func (t *traffic) copies() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.copying = true
	if t.doubtful.syncs > 0 && t.doubtful.batch == t.answered {
		t.sent -= t.doubtful.syncs
		t.doubtful = doubt{}
	}
}

// answer notes that the server has answered a batch. It returns whether a call was
// in progress then.
func (t *traffic) answer(status byte) (called bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.doubtful.syncs > 0 && t.doubtful.batch == t.answered {
		t.doubtful = doubt{}
	}
	t.answered++
	t.status, t.copying = status, false
	called, t.calling = t.calling, false
	if len(t.rewrites) > 0 {
		t.rewrites = slices.DeleteFunc(t.rewrites, func(r rewrite) bool { return r.batch < t.answered })
	}
	return called
}

// rewritten notes that a statement of the batch that the client is about to send
// goes to the server in other words.
func (t *traffic) rewritten(parse int, original func(int) int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rewrites = append(t.rewrites, rewrite{batch: t.sent, parse: parse, original: original})
}

// failing returns what stands for the statement in which the server has found an
// error after so many Parses of the batch were done, if that was rewritten.
func (t *traffic) failing(parsed int) (rewrite, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rewrites {
		if r.batch == t.answered && (r.parse == 0 || r.parse == parsed+1) {
			return r, true
		}
	}
	return rewrite{}, false
}

// call notes that a function waits for an answer of ours, or no longer does. It
// returns whether one did before.
func (t *traffic) call(waits bool) (before bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, t.calling = t.calling, waits
	return before
}

// quiet reports whether the server has answered all that it was asked.
func (t *traffic) quiet() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.open && t.sent == t.answered
}

// idle reports whether the server has nothing to do and is in no transaction.
func (t *traffic) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.open && t.sent == t.answered && t.status == 'I'
}

// waits reports whether a function waits for an answer of ours.
func (t *traffic) waits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calling
}

// receptive reports whether a query of our own does no harm between the client's
// statements: the server waits for one, and not for the end of a transaction that
// has failed.
func (t *traffic) receptive() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.open && t.sent == t.answered && t.status != 'E'
}

// inTransaction reports whether the session is in a transaction block, or may be.
func (t *traffic) inTransaction() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open || t.sent != t.answered || t.status != 'I'
}
