package gateway

import "github.com/pgexthost/pgexthost/plugins/elog"

// injection is a query of our own between two of the client's, who gets none of
// the answers.
type injection struct {
	rows [][]byte // the first column of each row
	ok   bool
	done chan struct{}
}

// inject runs sql in the server's session. The up goroutine calls it while the
// server has nothing to do. It returns false if there was an error, which the
// client does not see either.
func (s *session) inject(up *pump, sql string) (rows [][]byte, ok bool) {
	if err := up.flush(); err != nil {
		return nil, false
	}
	i := &injection{ok: true, done: make(chan struct{})}
	s.traffic.mu.Lock()
	s.traffic.injected = i
	s.traffic.mu.Unlock()
	s.down.wanted.Store(&wantedOfInjection)
	if _, err := s.server.Write(queryMessage(sql)); err != nil {
		return nil, false
	}
	select {
	case <-i.done:
		return i.rows, i.ok
	case <-s.ended:
		return nil, false
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
		i.ok = false
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
