package gateway

import "bytes"

// wantedOfClient are the types of messages that the gateway looks at, or counts.
var wantedOfClient = types("QPBEDCHSFdcf")

func types(letters string) (wanted [256]bool) {
	for _, t := range []byte(letters) {
		wanted[t] = true
	}
	return wanted
}

// upward is what the up goroutine knows. It alone.
type upward struct {
	session *session
	open    bool // the client has begun a batch
	parses  int  // how many Parses there are in it
	data    bool // data for a COPY are coming
}

// examine looks at one message of the client.
func (u *upward) examine(p *pump, message []byte) (passOn bool, err error) {
	t := &u.session.traffic
	kind := message[0]
	switch kind {
	case 'd':
		if !u.data {
			u.data = true
			t.data()
		}
		return true, nil
	case 'c', 'f':
		u.data = false
		t.dataEnd()
		return true, nil
	}
	u.data = false
	var replacement []byte
	switch kind {
	case 'Q', 'P':
		if !u.open {
			u.session.refresh(p)
			u.session.foresee(p, message)
		}
		if kind == 'P' {
			u.parses++
		}
		replacement = u.rewritten(p, message)
	}
	switch kind {
	case 'Q', 'S', 'F':
		t.complete(kind == 'S')
		u.open, u.parses = false, 0
	default:
		if !u.open {
			u.open = t.begin()
		}
	}
	if replacement == nil {
		return true, nil
	}
	if err := p.flush(); err != nil {
		return false, err
	}
	_, err = p.out.Write(replacement)
	return false, err
}

// noStatement is a text of which the server makes none.
const noStatement = "pgexthost"

// rewritten returns the message that goes to the server instead of a Query or a
// Parse, or nil.
func (u *upward) rewritten(p *pump, message []byte) []byte {
	defer func() { u.session.failure = nil }()
	head := headerSize
	if message[0] == 'P' { // the statement's name comes first
		end := bytes.IndexByte(message[headerSize:], 0)
		if end < 0 {
			return nil
		}
		head += end + 1
	}
	size := bytes.IndexByte(message[head:], 0)
	if size < 0 {
		return nil
	}
	parse := u.parses
	if message[0] == 'Q' {
		parse = 0
	}
	sql, original := u.session.translate(p, message[head:head+size], message[0] == 'Q')
	failure := u.session.failure
	switch {
	case failure != nil:
		sql = noStatement
	case original == nil:
		return nil
	}
	u.session.traffic.rewritten(rewrite{parse: parse, original: original, failure: failure})
	replacement := append([]byte{}, message[:head]...)
	replacement = append(replacement, sql...)
	return finishMessage(append(replacement, message[head+size:]...))
}
