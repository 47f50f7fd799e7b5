package call

import (
	"context"
	"sync"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Session is the calls of one client's session. Its methods are called by whoever
// relays that, in the order in which the server says what they are about. None of
// them blocks but Ready, which any goroutine may call.
type Session struct {
	server   *Server
	database string
	pid      uint32
	id       callID // without the number
	valid    bool   // pid and nonce can be used
	fail     func(e *elog.ErrorData)

	mu     sync.Mutex
	news   news
	posted bool // the control is to look at news
	active bool // there was a call since the last statement ended
	known  bool // there was one at all
}

// news is what the relay has said since the control looked.
type news struct {
	over    bool     // what was in progress is
	closed  bool     // the session is
	request *request // the last one: a session makes one call at a time
}

// Handle takes a call: the fields MESSAGE, DETAIL and HINT of a message for which
// [IsRequest] holds. It returns false for what is no call of this session's, but
// something that a client has raised for itself. What has the form of one, and was not
// sent by a function of schema pgexthost, has no effect.
func (s *Session) Handle(verb, argument, idAndProof string) bool {
	if !s.valid {
		return false
	}
	r, ok := parseRequest(s.id, verb, argument, idAndProof)
	if ok {
		s.tell(func() bool {
			s.active, s.known, s.news.request = true, true, &r
			return true
		})
	}
	return ok
}

// Ready waits until calls from the session's database can be answered, or ctx ends. The
// error says why they can't be, such as that the server has no room for one session
// more.
func (s *Session) Ready(ctx context.Context) error { return s.server.ready(ctx, s.database) }

// Over says that the statement has ended: what it still waits for is cancelled,
// and its answer is for nobody.
func (s *Session) Over() {
	s.tell(func() (changed bool) {
		changed = s.active
		s.active, s.news.over, s.news.request = false, true, nil
		return changed
	})
}

// Close says that the client's session has ended.
func (s *Session) Close() {
	s.tell(func() bool {
		s.active, s.news = false, news{over: true, closed: true}
		return s.known
	})
}

// tell changes the news, and has the control look at them if change says so.
func (s *Session) tell(change func() bool) {
	s.mu.Lock()
	post := change() && !s.posted
	s.posted = s.posted || post
	s.mu.Unlock()
	if post {
		s.server.post(s)
	}
}

// take returns the news, and empties them.
func (s *Session) take() news {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.news
	s.news, s.posted = news{}, false
	return n
}
