package gateway

import (
	"bytes"
	"encoding/binary"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// injection is a query of our own between two of the client's, who gets none of
// the answers.
type injection struct {
	rows    [][]byte // the first column of each row
	failure []byte   // an ErrorResponse
	done    chan struct{}
}

// ask runs a query of our own in the server's session, before a statement of the
// client's. A time-out or a cancel request that hits it was meant for the statement,
// which fails with that; so does the statement if its transaction is lost.
func (s *session) ask(up *pump, sql string, args ...string) (rows [][]byte) {
	idle := s.traffic.idle()
	rows, failure := s.inject(up, extended(sql, args...))
	if failure == nil {
		return rows
	}
	if told, ok := parseFields(failure); ok && (!idle || told.get('C') == string(elog.QueryCanceled)) {
		s.failure = failure
	}
	return rows
}

// injected names what our queries need for themselves.
const injected = `"pgexthost.gateway"`

// extended is the messages, up to the Sync, that run a statement. With names of its
// own it leaves alone what the client has prepared, or bound, without a name.
func extended(sql string, args ...string) (messages []byte) {
	const name = injected + "\x00"
	bind := append([]byte(name+name), 0, 0, 0, byte(len(args)))
	for _, arg := range args {
		bind = binary.BigEndian.AppendUint32(bind, uint32(len(arg)))
		bind = append(bind, arg...)
	}
	for _, m := range []struct {
		kind byte
		body string
	}{
		{'C', "S" + name}, {'P', name + sql + "\x00\x00\x00"}, {'B', string(bind) + "\x00\x00"}, {'E', name + "\x00\x00\x00\x00"},
		{'C', "P" + name}, {'C', "S" + name},
	} {
		messages = append(messages, finishMessage(append([]byte{m.kind, 0, 0, 0, 0}, m.body...))...)
	}
	return messages
}

// inject sends messages, and a Sync. The up goroutine calls it while the server has
// nothing to do. It returns an ErrorResponse if there was one, which the client does
// not see.
func (s *session) inject(up *pump, messages []byte) (rows [][]byte, failure []byte) {
	if err := up.flush(); err != nil {
		return nil, nil
	}
	i := &injection{done: make(chan struct{})}
	s.traffic.mu.Lock()
	s.traffic.injected = i
	s.traffic.mu.Unlock()
	s.down.wanted.Store(&wantedOfInjection)
	if _, err := s.server.Write(append(messages, 'S', 0, 0, 0, 4)); err != nil {
		return nil, nil
	}
	select {
	case <-i.done:
		return i.rows, i.failure
	case <-s.ended:
		return nil, nil
	}
}

// injecting returns the query of our own that the server answers, or nil.
func (t *traffic) injecting() *injection {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.injected
}

// take takes a message of the server that answers the injection. What says that the
// session ends, or comes of its own accord, is the client's after all.
func (s *session) take(i *injection, message []byte) (passOn bool) {
	switch message[0] {
	case 'N':
		return true
	case 'D':
		if value, ok := firstColumn(message); ok {
			i.rows = append(i.rows, value)
		}
	case 'E':
		i.failure = bytes.Clone(message)
		if told, ok := parseFields(message); ok && told.get('V') == elog.Fatal.String() {
			return true
		}
	case 'Z':
		s.traffic.mu.Lock()
		s.traffic.injected = nil
		s.traffic.mu.Unlock()
		s.down.wanted.Store(&wantedOfServer)
		close(i.done)
	}
	return false
}

// firstColumn returns a copy of the first column of a DataRow.
func firstColumn(message []byte) ([]byte, bool) {
	body := message[headerSize:]
	if len(body) < 6 {
		return nil, false
	}
	size := int(int32(uint32At(body[2:])))
	if size < 0 || len(body)-6 < size {
		return nil, false
	}
	return append([]byte{}, body[6:6+size]...), true
}
