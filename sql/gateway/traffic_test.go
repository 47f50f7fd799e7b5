package gateway

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// wire feeds the two goroutines' parts with messages, one letter each, as they are
// seen by the gateway: up those of the client, down those of the server.
type wire struct {
	t       *testing.T
	session *session
	up      *upward
	down    *downward
	pump    *pump
}

func newWire(t *testing.T) *wire {
	s := &session{gateway: &gateway{}, startup: &startup{}, parameters: make(map[string]string), ended: make(chan struct{})}
	s.attach()
	w := &wire{t: t, session: s, up: &upward{session: s}, down: &downward{session: s}}
	w.pump = newPump(strings.NewReader(""), io.Discard, &wantedOfClient, nil)
	w.server("Z")
	return w
}

// client sends messages, as far as the gateway looks at their types.
func (w *wire) client(kinds string) *wire {
	for _, k := range []byte(kinds) {
		if wantedOfClient[k] {
			_, err := w.up.examine(w.pump, msg(k, "\x00\x00"))
			check(w.t, err)
		}
	}
	return w
}

func (w *wire) server(kinds string) *wire {
	for _, k := range []byte(kinds) {
		if wantedOfServer[k] {
			body := ""
			if k == 'Z' {
				body = "I"
			}
			_, err := w.down.examine(w.pump, msg(k, body))
			check(w.t, err)
		}
	}
	return w
}

// A conversation is client and server by turns, the client's parts first.
func (w *wire) talk(conversation string) *wire {
	for i, part := range strings.Split(conversation, " ") {
		if i%2 == 0 {
			w.client(part)
		} else {
			w.server(part)
		}
	}
	return w
}

// The gateway may put in a query of its own when the server has nothing to do, and
// must not when it has.
func TestWhenTheServerHasNothingToDo(t *testing.T) {
	for conversation, idle := range map[string]bool{
		"":                       true,
		"Q":                      false,
		"Q Z":                    true,
		"QQ Z":                   false,
		"QQ ZZ":                  true,
		"P":                      false,
		"PBDE":                   false,
		"PBDES":                  false,
		"PBDES 12TDCZ":           true,
		"PBDES EZ":               true,
		"PBESPBES 12CZ":          false,
		"PBESPBES 12CZ12CZ":      true,
		"PH 1":                   false,
		"PHBES 112CZ":            true,
		"S Z":                    true,
		"F VZ":                   true,
		"F":                      false,
		"PQ":                     false,
		"PQ 1":                   false,
		"PQS 1CZZ":               true,
		"Q G dddc CZ":            true,
		"Q G dddf EZ":            true,
		"Q Gdd":                  false,
		"Qdddc GCZ":              true,
		"PBEdddcS 12GCZ":         true,
		"PBES 12G ddcS CZ":       true,  // the first Sync is ignored, as drivers know that do not look before
		"PBESddcS 12GCZ":         true,  // the same, sent before the server takes data
		"PBESddcS 12EZZ":         true,  // but not if it fails before it takes any
		"PBESddcS 12EZ":          false, // then there are two answers
		"PBESddcSQ 12GCZ":        false,
		"PBESddcSQ 12GCZCZ":      true,
		"Q G ddSddc CZ":          true, // Syncs amid the data
		"Q G ddSSdHSdc CZ":       true, // and Flushes
		"Q G ddSddc":             false,
		"QSddc GCZ":              true, // a Sync after a Query
		"QSddc EZZ":              true,
		"QSddc EZ":               false,
		"QdSdc GCZ":              true,
		"PBEdcS 12EZ":            true,
		"Q CG dc CG dc CZ":       true, // COPY twice in a Query
		"QdcSQ":                  false,
		"PBES 12G dSdc E S Z":    false, // an error before the Sync or behind it: nobody knows
		"PBES 12G dSdc E S ZZ":   true,
		"PBES 12G dSdcS EZ":      false, // the same when it comes late
		"PBES 12G dSdcS EZZ":     true,
		"PBES 12G dSdcS CZ":      true,
		"PBESdSdcS 12GEZ":        false,
		"PBESdSdcS 12GCZ":        true,
		"PBES 12G ddc E S":       false,
		"PBES 12G ddc E S Z":     true,
		"PBES 12G ddcS EZ":       true,
		"PBESddcS 12GEZ":         true,
		"PBES 12G dd E S Z":      true,
		"QPBEdcS CZ  12GCZ":      true,
		"QPBEdcS CZ12GCZ":        true,
		"PBEdcPBEdcS 12GC12GCZ":  true, // two COPYs in a batch
		"PBEdcEdcS 12GC12GCZ":    true,
		"dcdc":                   true, // nobody listens
		"dcdcQ Z":                true,
		"Q ZZ":                   false, // more answers than questions
		"Q ZZ Q":                 false, // for good
		"Q ZZ Q Z":               false,
		"Qdc EZ":                 true, // data that nobody wants
		"QdcQ EZ":                false,
		"QdcQ EZCZ":              true,
		"PBESPBES 12EZ12CZ":      true,
		"PBPBES 12EZ":            true,
		"XQ":                     false,
		"Q W dd Wd cd CZ":        true, // a walsender's
		"PBESPBESddcS 12CZ12":    false,
		"PBESPBESddcS 12CZ12GCZ": true,
	} {
		w := newWire(t).talk(conversation)
		if got := w.session.traffic.idle(); got != idle {
			t.Errorf("%q: idle is %v: sent %d (%v), answered %d", conversation, got, w.session.traffic.sent, w.session.traffic.open, w.session.traffic.answered)
		}
		if w.session.traffic.receptive() != idle || w.session.traffic.inTransaction() == idle {
			t.Errorf("%q: receptive: %v, in a transaction: %v", conversation, w.session.traffic.receptive(), w.session.traffic.inTransaction())
		}
	}
}

// A message that is too long to be looked into counts all the same.
func TestALongMessageCounts(t *testing.T) {
	w := newWire(t)
	long := msg('Q', strings.Repeat("x", maxExamined)+"\x00")
	in := cutEvery(long, bufferSize)
	var out bytes.Buffer
	if err := newPump(&in, &out, &wantedOfClient, w.up.examine).run(); !errors.Is(err, io.EOF) || !bytes.Equal(out.Bytes(), long) {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
	if w.session.traffic.idle() {
		t.Error("the server is taken for idle")
	}
	if w.server("CZ"); !w.session.traffic.idle() {
		t.Error("the server is taken for busy")
	}
}

func TestTheStatusOfTheTransactionIsTheLastReadyForQuerys(t *testing.T) {
	w := newWire(t)
	for status, idle := range map[string]bool{"T": false, "E": false, "I": true} {
		w.client("Q")
		_, err := w.down.examine(w.pump, msg('Z', status))
		check(t, err)
		if !w.session.traffic.quiet() || w.session.traffic.idle() != idle {
			t.Errorf("%s: quiet %v, idle %v", status, w.session.traffic.quiet(), w.session.traffic.idle())
		}
	}
}

func TestAnErrorBelongsToTheStatementItAnswers(t *testing.T) {
	w := newWire(t)
	at := func(n int) func(int) int { return func(position int) int { return n*1000 + position } }
	tr := &w.session.traffic
	w.client("Q")
	tr.rewritten(rewrite{parse: 1, original: at(1)}) // the first Parse of the next batch
	w.client("PBP")
	tr.rewritten(rewrite{parse: 2, original: at(2)}) // and, in truth, the second
	w.client("S")
	if _, ok := tr.failing(0); ok {
		t.Error("the Query is taken for rewritten")
	}
	w.server("CZ")
	if r, ok := tr.failing(0); !ok || r.original(7) != 1007 {
		t.Error("the first Parse is not taken for rewritten")
	}
	if r, ok := tr.failing(1); !ok || r.original(7) != 2007 {
		t.Error("the second Parse is not taken for rewritten")
	}
	w.server("EZ")
	if _, ok := tr.failing(0); ok || len(tr.rewrites) > 0 {
		t.Error("what is answered is kept")
	}
}

// A client that says the same for ever fills no memory.
func TestWhatIsAheadIsBounded(t *testing.T) {
	for _, same := range []string{"c", "dc", "dS", "PS", "Q", "P"} {
		w := newWire(t).client("P")
		for range maxAhead + 10 {
			w.client(same)
		}
		if n := len(w.session.traffic.ahead); n > maxAhead || w.session.traffic.idle() {
			t.Errorf("%s: %d are kept", same, n)
		}
	}
}

// A function may catch that its statement was cancelled.
func TestAFailedCallThatIsCaughtIsForgottenWithItsStatement(t *testing.T) {
	w := newWire(t).client("Q")
	w.session.traffic.call(true)
	w.session.fail(adminShutdown())
	if w.server("CZ"); w.session.takeFailure() != nil {
		t.Error("the next statement that is cancelled is told why this one was")
	}
	w.client("Q")
	if w.session.fail(adminShutdown()); w.session.takeFailure() != nil {
		t.Error("a statement without a call fails")
	}
}
