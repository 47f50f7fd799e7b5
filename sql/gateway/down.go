package gateway

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/call"
	"github.com/pgexthost/pgexthost/sql/statement"
)

var (
	wantedOfServer    = types("NEZSCGW1K")
	wantedOfInjection = types("NEZSCGW123DTI")
)

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
		s.settle()
	case 'C':
		return d.complete(p, message)
	case 'N':
		return d.notice(p, message)
	case 'E':
		return d.failure(p, message)
	}
	return true, nil
}

// complete replaces the tag of a statement that stood for another.
func (d *downward) complete(p *pump, message []byte) (passOn bool, err error) {
	if d.tag == "" {
		if tag := message[headerSize:]; string(tag) == "RESET\x00" || string(tag) == "DISCARD ALL\x00" {
			d.session.reset.Store(true)
		}
		return true, nil
	}
	tag := d.tag
	d.tag = ""
	return false, send(p, finishMessage(append(append([]byte{'C', 0, 0, 0, 0}, tag...), 0)))
}

// notice keeps what is meant for the gateway.
func (d *downward) notice(p *pump, message []byte) (passOn bool, err error) {
	s := d.session
	var told pgproto3.NoticeResponse
	if told.Decode(message[headerSize:]) != nil {
		return true, nil
	}
	if s.calls != nil && call.IsRequest(told.Code) {
		return !s.called(&told), nil
	}
	if tag, ok := statement.Tag(&told, s.nonce); ok {
		d.tag = tag
		return false, nil
	}
	return d.polished(p, message)
}

// called takes a call, and reports whether it is one of this session's: a client may
// raise what only looks like one.
func (s *session) called(told *pgproto3.NoticeResponse) bool {
	before := s.traffic.call(true) // at once: who waits for the answer may leave
	ok := s.calls.Handle(told.Message, told.Detail, told.Hint)
	if !ok {
		s.traffic.call(before)
	}
	return ok
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
	if r, ok := s.traffic.failing(d.parsed); ok {
		if r.failure != nil {
			return false, send(p, r.failure)
		}
		if position, err := strconv.Atoi(told.get('P')); err == nil {
			told.set('P', strconv.Itoa(r.original(position)))
			told.set('M', withoutSchema(told.get('M')))
			changed = true
		}
	}
	if !statement.IsMarked(told.get('n'), s.nonce) && told.cut('W', withoutOwnContext) {
		changed = true
	}
	if name := s.contested(told); name != "" {
		told = append(told, field{'H', "The extension host has a library with a setting \"" + name + "\", and so has the server. Leave the library to one of them."})
		changed = true
	}
	if !changed {
		return d.polished(p, message)
	}
	return false, send(p, told.encode('E'))
}

// ownContext is the line of a CONTEXT that names a function of schema pgexthost, in
// whatever language; what it quotes is no such line.
var ownContext = regexp.MustCompile(`(?m)^[^"\n]* pgexthost\.[a-z_]+\([^"\n]*$`)

// withoutOwnContext leaves of a CONTEXT, which begins with the innermost place, what
// is outside the functions of schema pgexthost: in a server with the host's libraries
// these have none.
func withoutOwnContext(context string) string {
	all := ownContext.FindAllStringIndex(context, -1)
	if len(all) == 0 {
		return context
	}
	return strings.TrimPrefix(context[all[len(all)-1][1]:], "\n")
}

// withoutSchema takes from a message where a name of the client's was redirected to.
// Functions alone are called by their schema there.
func withoutSchema(message string) string {
	return strings.Replace(message, "pgexthost.pg_", "pg_", 1)
}

// contested returns the setting of a library's that the server did not want to be
// told when the session began: it has a library of that name of its own.
func (s *session) contested(told fields) (name string) {
	if !s.traffic.begins() || told.get('V') != elog.Fatal.String() || told.get('H') != "" {
		return ""
	}
	for name := range s.first {
		if strings.Contains(told.get('M'), `"`+name+`"`) {
			return name
		}
	}
	return ""
}

// polished passes on a message that a statement of ours has raised on purpose
// without what tells of that statement.
func (d *downward) polished(p *pump, message []byte) (passOn bool, err error) {
	var told pgproto3.ErrorResponse
	if told.Decode(message[headerSize:]) != nil || !statement.Polish(&told, d.session.nonce) {
		return true, nil
	}
	clean, err := told.Encode(nil)
	if err != nil {
		return true, nil
	}
	clean[0] = message[0]
	return false, send(p, clean)
}

// send writes a message in the place of the one that is being looked at.
func send(p *pump, message []byte) error {
	if err := p.flush(); err != nil {
		return err
	}
	_, err := p.out.Write(message)
	return err
}
