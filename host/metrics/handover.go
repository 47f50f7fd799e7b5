package metrics

import (
	"net"
	"sync"
)

// handover is a listener for connections that somebody else accepts.
type handover struct {
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
}

func newHandover() *handover {
	return &handover{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// serve hands a connection over, and returns when it is closed, or the listener
// was.
func (h *handover) serve(conn net.Conn) {
	done := make(chan struct{})
	select {
	case h.conns <- &watchedConn{Conn: conn, onClose: func() { close(done) }}:
		<-done
	case <-h.closed:
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.close.Do(func() { close(h.closed) })
	return nil
}

func (h *handover) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// limited is a listener with no more than so many connections at a time. The
// others wait to be accepted.
type limited struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	close  sync.Once
}

func limitConnections(l net.Listener, connections int) *limited {
	return &limited{Listener: l, room: make(chan struct{}, connections), closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.room <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &watchedConn{Conn: conn, onClose: func() { <-l.room }}, nil
}

func (l *limited) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// watchedConn does something when it is closed.
type watchedConn struct {
	net.Conn
	onClose func()
	once    sync.Once
}

func (c *watchedConn) Close() error {
	defer c.once.Do(c.onClose)
	return c.Conn.Close()
}
