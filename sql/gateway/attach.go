package gateway

import (
	"context"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Caller answers the calls of one session's functions. Its methods do not wait, but
// Ready.
type Caller interface {
	// Ready says why calls can't be answered at present, or returns nil.
	Ready(ctx context.Context) error
	// Handle takes a request as a function has sent it. False: it is none of this
	// session's.
	Handle(verb, argument, idAndProof string) bool
	// Over says that the statement is over that has asked.
	Over()
	// Close says that the session is.
	Close()
}

// attach makes the session ready for the relay. Its opening is the first batch.
func (s *session) attach() {
	s.down = newPump(s.server, s.client, &wantedOfServer, (&downward{session: s}).examine)
	s.traffic.complete(false)
}

// opened notes the key with which the session's statements are cancelled. The
// client has it as well, and no other.
func (s *session) opened(message []byte) {
	if len(message) < headerSize+4 {
		return
	}
	key := cancelKey{pid: uint32At(message[headerSize:]), secret: string(message[headerSize+4:])}
	s.mu.Lock()
	s.key = key
	s.mu.Unlock()
	s.gateway.keys.add(key, s.server.Address)
	if !s.startup.isReplication() && !s.counted {
		s.counted = true
		s.gateway.count(1)
		s.calls = s.gateway.caller(s.startup.database(), s.key.pid, s.nonce, s.fail)
	}
}

func (s *session) detach() {
	s.gateway.keys.remove(s.key)
	if s.calls != nil {
		s.calls.Close()
	}
	if s.counted {
		s.gateway.count(-1)
	}
}

func (s *session) over() {
	if s.calls != nil {
		s.calls.Over()
	}
}

// noteParameter keeps what the server reports of its session.
func (s *session) noteParameter(message []byte) {
	name, rest, ok := cutString(message[headerSize:])
	if !ok {
		return
	}
	value, _, ok := cutString(rest)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parameters[name] = value
}

func (s *session) parameter(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parameters[name]
}

// fail ends the statement that waits for a call, which nobody can answer, with an
// error of ours: the server cancels it, and the client is told why.
func (s *session) fail(reason *elog.ErrorData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.traffic.waits() {
		s.reason = reason
		s.failing.Go(func() { s.cancelStatement(cancelTime) })
	}
}

// settle sees to it that a failure ends with the statement, which may have caught
// it: neither its cancel request nor its reason is for the next one.
func (s *session) settle() {
	_ = s.takeFailure()
	s.failing.Wait()
}

// takeFailure returns the reason that fail was given for the statement that ends.
func (s *session) takeFailure() *elog.ErrorData {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := s.reason
	s.reason = nil
	return reason
}

// failed is the message that says reason.
func (s *session) failed(reason *elog.ErrorData) []byte {
	told := *reason
	told.Level = elog.Error
	return encodeError(&told)
}

// cancelTime is how long a cancel request may take to be delivered.
const cancelTime = 10 * time.Second

// cancelStatement cancels what the server's session is doing.
func (s *session) cancelStatement(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s.mu.Lock()
	key := s.key
	s.mu.Unlock()
	s.gateway.cancel(ctx, key)
}

// cancel passes a cancel request on, to the server that has the session. Nobody is
// told whether there is one, as in PostgreSQL.
func (g *gateway) cancel(ctx context.Context, key cancelKey) {
	address, ok := g.keys.find(key)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cancelTime)
	defer cancel()
	server, err := g.dialAt(ctx, address)
	if err != nil {
		g.log(elog.AsErrorData(err, elog.Log))
		return
	}
	defer server.Close()
	deadline, _ := ctx.Deadline()
	_ = server.SetDeadline(deadline)
	if _, err := server.Write(key.encode()); err != nil {
		return
	}
	_, _ = server.Read(make([]byte, 1)) // it hangs up once it has sent the signal
}

// dial connects to the server. It returns the host's user there as well.
func (g *gateway) dial(ctx context.Context) (server *connect.Raw, login string, err error) {
	config, err := connect.ParseConninfo(g.worker.ServerConninfo())
	if err != nil {
		return nil, "", err
	}
	server, err = config.Dial(ctx)
	return server, config.User(), err
}

// dialAt connects to the same host of several.
func (g *gateway) dialAt(ctx context.Context, address string) (*connect.Raw, error) {
	config, err := connect.ParseConninfo(g.worker.ServerConninfo())
	if err != nil {
		return nil, err
	}
	return config.DialAt(ctx, address)
}
