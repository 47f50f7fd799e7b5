package gateway

import (
	"slices"
	"sync"
)

// traffic is what the two goroutines of a session tell each other.
//
// A *batch* is what the server answers with one ReadyForQuery: a Query, a
// FunctionCall, or what comes before a Sync. Both goroutines count batches, and so
// know which answer belongs to which statement.
//
// A server that takes the data of a COPY ignores Syncs, and drivers do send such:
// with the statement, before they see what it is. Whether a Sync counts is known
// only once the server has answered the statement, so what may matter is kept in
// its order until then. Where the count is in doubt the server is taken for busy.
type traffic struct {
	mu       sync.Mutex
	sent     int    // batches that the client has completed
	ahead    []byte // of these, from the one on that is not answered yet: see the constants
	open     bool   // it has begun another one
	answered int    // batches that the server has answered
	lost     bool   // the count is in doubt for good
	status   byte   // of the transaction, as the last ReadyForQuery says: I, T or E
	calling  bool   // a function waits for an answer of ours
	copying  bool   // the server takes data, and no Sync
	amid     int    // Syncs amid these data, which count after all if an error came before them
	rewrites []rewrite
	injected *injection
}

// What is ahead of the server: where batches begin and end, and where data for a
// COPY do, wanted or not.
const (
	aheadBegin = 'b' // of a batch that ends with a Sync
	aheadQuery = 'Q' // or FunctionCall
	aheadSync  = 'S'
	aheadData  = 'd'
	aheadEnd   = 'c' // CopyDone or CopyFail
)

// maxAhead is how much of that is kept. No driver comes near it.
const maxAhead = 1 << 18

// rewrite is a statement that the server has got in other words. Errors in it are
// at places that the client does not know.
type rewrite struct {
	batch    int
	parse    int // which Parse of the batch; 0 if it is a Query
	original func(position int) int
	failure  []byte // what the client is told in the place of the error; or nil
}

// begin notes that the client has begun a batch, and reports whether it has: amid
// data nothing begins.
func (t *traffic) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.copying {
		return false
	}
	if !t.open {
		t.open = true
		t.note(aheadBegin)
	}
	return true
}

// note adds to what is ahead.
func (t *traffic) note(what byte) {
	if len(t.ahead) == maxAhead {
		t.lost = true
		return
	}
	t.ahead = append(t.ahead, what)
}

// complete notes that the client has completed a batch, by a Sync or by itself.
func (t *traffic) complete(sync bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case sync && t.copying:
		t.amid++
		return
	case sync:
		t.note(aheadSync)
	default:
		t.note(aheadQuery)
	}
	t.open = false
	t.sent++
}

// data notes that data for a COPY begin to come.
func (t *traffic) data() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.copying && len(t.ahead) > 0 {
		t.note(aheadData)
	}
}

// dataEnd notes that no more of them come. What was amid is kept: the server may
// have found an error by then that is still on its way.
func (t *traffic) dataEnd() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.copying {
		t.copying = false
	} else if len(t.ahead) > 0 {
		t.note(aheadEnd)
	}
}

// copies notes that the server takes data. It ignores the Syncs before their end.
func (t *traffic) copies() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.copying, t.amid = true, 0
	if len(t.ahead) == 0 {
		return
	}
	// The batch in which the COPY is comes first. Its Query is done with, the Sync
	// behind an Execute is one of those that are ignored.
	batch, next, begun := t.answered, 1, false
	if t.ahead[0] == aheadQuery {
		batch++
	}
	for t.copying && next < len(t.ahead) && t.ahead[next] != aheadQuery && t.ahead[next] != aheadBegin {
		switch t.ahead[next] {
		case aheadSync:
			t.ignore(batch)
			if begun {
				t.amid++
			}
		case aheadData:
			begun = true
		case aheadEnd:
			t.copying = false
		}
		next++
	}
	t.ahead = slices.Delete(t.ahead, 1, next)
	if t.sent == t.answered {
		t.open = true // the batch goes on behind the data
	}
}

// ignore takes back that a Sync has completed a batch.
func (t *traffic) ignore(batch int) {
	t.sent--
	for i := range t.rewrites {
		if t.rewrites[i].batch > batch {
			t.rewrites[i].batch--
		}
	}
}

// forget forgets what is ahead of the next of these.
func (t *traffic) forget(upTo ...byte) {
	for len(t.ahead) > 0 && !slices.Contains(upTo, t.ahead[0]) {
		t.ahead = t.ahead[1:]
	}
}

// failed notes that the server has found an error. If it took data it takes no
// more. Which of the Syncs amid these were ignored by then is not known.
func (t *traffic) failed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range t.amid {
		t.note(aheadSync)
		t.sent++
	}
	t.copying, t.amid = false, 0
}

// answer notes that the server has answered a batch. It returns whether a call was
// in progress then.
func (t *traffic) answer(status byte) (called bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.forget(aheadQuery, aheadSync); len(t.ahead) > 0 {
		t.ahead = t.ahead[1:]
	} else {
		t.lost = true // it has answered more than it was asked
	}
	if t.forget(aheadBegin, aheadQuery, aheadSync); len(t.ahead) == 0 {
		t.ahead = nil
	}
	t.answered++
	t.status, t.copying, t.amid = status, false, 0
	called, t.calling = t.calling, false
	if len(t.rewrites) > 0 {
		t.rewrites = slices.DeleteFunc(t.rewrites, func(r rewrite) bool { return r.batch < t.answered })
	}
	return called
}

// rewritten notes that a statement of the batch that the client is about to send
// goes to the server in other words.
func (t *traffic) rewritten(r rewrite) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.batch = t.sent
	t.rewrites = append(t.rewrites, r)
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
	quiet, _ := t.state()
	return quiet
}

// idle reports whether the server has nothing to do and is in no transaction.
func (t *traffic) idle() bool {
	quiet, status := t.state()
	return quiet && status == 'I'
}

// receptive reports whether a query of our own does no harm between the client's
// statements: the server waits for one, and not for the end of a transaction that
// has failed.
func (t *traffic) receptive() bool {
	quiet, status := t.state()
	return quiet && status != 'E'
}

// inTransaction reports whether the session is in a transaction block, or may be.
func (t *traffic) inTransaction() bool { return !t.idle() }

// state returns whether the server has answered all that it was asked, and the status
// of the transaction then.
func (t *traffic) state() (quiet bool, status byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.open && !t.lost && t.sent == t.answered, t.status
}

// begins reports whether the session has not begun yet.
func (t *traffic) begins() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answered == 0
}

// waits reports whether a function waits for an answer of ours.
func (t *traffic) waits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calling
}
