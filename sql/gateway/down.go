package gateway

import (
	"bytes"
	"strconv"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

var (
	wantedOfServer    = types("NEZSCGW1K")
	wantedOfInjection = types("NEZSCGW1DTI")
)

// SQLSTATEs of messages from functions of schema pgexthost, and from statements
// that stand for others, to the gateway.
const (
	markerClass = "PX0"
	markerCall  = "PX001"
	markerTag   = "PX002"
)

// ours begins the constraint's name in an error that the gateway has asked for, in
// which the place in functions of ours means nothing to the client.
const ours = "pgexthost:"

// downward is what the down goroutine knows. It alone.
type downward struct {
	session *session
	parsed  int    // Parses of the batch that are done
	tag     string // instead of that of the next CommandComplete
}

// examine looks at one message of the server.
func (d *downward) examine(p *pump, message []byte) (passOn bool, err error) {
	s := d.session
	if i := s.traffic.injecting(); i != nil && message[0] != 'S' {
		return s.take(i, message), nil
	}
	switch message[0] {
	case '1':
		d.parsed++
	case 'K':
		s.opened(message)
	case 'S':
		s.noteParameter(message)
	case 'G', 'W':
		s.traffic.copies()
	case 'Z':
		d.parsed, d.tag = 0, ""
		status := byte('I')
		if len(message) > headerSize {
			status = message[headerSize]
		}
		if s.traffic.answer(status) {
			s.over()
		}
	case 'C':
		return d.complete(p)
	case 'N':
		return d.notice(p, message)
	case 'E':
		return d.failure(p, message)
	}
	return true, nil
}

// complete replaces the tag of a statement that stood for another.
func (d *downward) complete(p *pump) (passOn bool, err error) {
	if d.tag == "" {
		return true, nil
	}
	tag := d.tag
	d.tag = ""
	return false, send(p, finishMessage(append(append([]byte{'C', 0, 0, 0, 0}, tag...), 0)))
}

// notice keeps what is meant for the gateway.
func (d *downward) notice(p *pump, message []byte) (passOn bool, err error) {
	if !bytes.Contains(message, []byte("C"+markerClass)) && !bytes.Contains(message, []byte(ours)) {
		return true, nil
	}
	told, ok := parseFields(message)
	if !ok {
		return true, nil
	}
	s := d.session
	switch code := told.get('C'); {
	case code == markerCall && s.calls != nil:
		s.traffic.call(true)
		s.calls.Handle(told.get('M'), told.get('D'), told.get('H'))
		return false, nil
	case code == markerTag && told.get('D') == s.nonce:
		d.tag = told.get('M')
		return false, nil
	}
	return d.cleaned(p, told, 'N')
}

// failure takes from an error what the client does not know.
func (d *downward) failure(p *pump, message []byte) (passOn bool, err error) {
	s := d.session
	d.tag = ""
	s.traffic.failed()
	if s.traffic.call(false) {
		s.over()
	}
	told, ok := parseFields(message)
	if !ok {
		return true, nil
	}
	if reason := s.takeFailure(); reason != nil && told.get('C') == string(elog.QueryCanceled) {
		return false, send(p, s.failed(reason))
	}
	changed := false
	if position, err := strconv.Atoi(told.get('P')); err == nil {
		if r, ok := s.traffic.failing(d.parsed); ok {
			told.set('P', strconv.Itoa(r.original(position)))
			changed = true
		}
	}
	if told.get('n') == ours+s.nonce {
		return d.cleaned(p, told, 'E')
	}
	if !changed {
		return true, nil
	}
	return false, send(p, told.encode('E'))
}

// cleaned passes on a message without the places in functions of ours.
func (d *downward) cleaned(p *pump, told fields, kind byte) (passOn bool, err error) {
	if told.get('n') != ours+d.session.nonce {
		return true, nil
	}
	var rest fields
	for _, f := range told {
		if bytes.IndexByte([]byte("WnFLRqp"), f.code) < 0 {
			rest = append(rest, f)
		}
	}
	return false, send(p, rest.encode(kind))
}

// send writes a message in the place of the one that is being looked at.
func send(p *pump, message []byte) error {
	if err := p.flush(); err != nil {
		return err
	}
	_, err := p.out.Write(message)
	return err
}
