//go:build linux

package integration

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wire is a client that speaks the protocol byte by byte, with no driver in
// between that could make two answers look alike. It notes all that it is told.
type wire struct {
	t          testing.TB
	conn       net.Conn
	in         *bufio.Reader
	piece      int // what is sent is sent in pieces of this size; 0: as a whole
	transcript []string
	greeting   []string // what of it came before the first ReadyForQuery
}

// dialWire opens a session, up to its first ReadyForQuery.
func dialWire(t testing.TB, p place, database string) *wire {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(p.dir, ".s.PGSQL."+strconv.Itoa(p.port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn, in: bufio.NewReader(conn)}
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	for _, text := range []string{"user", "postgres", "database", database, "application_name", "wire", "TimeZone", "UTC", ""} {
		body = append(append(body, text...), 0)
	}
	w.send(append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...))
	w.ready(1)
	w.greeting = w.transcript
	return w
}

// send sends messages, all at once or in pieces. A server that has hung up is
// what the transcript is about.
func (w *wire) send(messages ...[]byte) {
	w.t.Helper()
	var all []byte
	for _, m := range messages {
		all = append(all, m...)
	}
	size := w.piece
	if size == 0 {
		size = len(all)
	}
	for len(all) > 0 {
		n := min(size, len(all))
		if _, err := w.conn.Write(all[:n]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				w.t.Fatal(err)
			}
			return
		}
		all = all[n:]
	}
}

// read notes one message, and returns its type; 0 is the end.
func (w *wire) read() byte {
	w.t.Helper()
	var head [5]byte
	_, err := io.ReadFull(w.in, head[:])
	var body []byte
	if err == nil {
		body = make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		_, err = io.ReadFull(w.in, body)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		w.transcript = append(w.transcript, "closed")
		return 0
	case err != nil:
		w.t.Fatalf("%v after:\n%s", err, strings.Join(w.transcript, "\n"))
	}
	switch head[0] {
	case 'K', 'A': // the pid of a session is its own
		copy(body, "****")
	}
	if head[0] == 'K' {
		copy(body[4:], "****")
	}
	w.transcript = append(w.transcript, fmt.Sprintf("%c %q", head[0], body))
	return head[0]
}

// until notes messages up to one of a type, or the end. It reports whether that
// type has come.
func (w *wire) until(kind byte) bool {
	w.t.Helper()
	for {
		switch w.read() {
		case kind:
			return true
		case 0:
			return false
		}
	}
}

// ready notes the answers to so many batches.
func (w *wire) ready(batches int) {
	w.t.Helper()
	for range batches {
		if !w.until('Z') {
			return
		}
	}
}

// message is one of a type, with its length.
func message(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

func text(parts ...string) (b []byte) {
	for _, p := range parts {
		b = append(append(b, p...), 0)
	}
	return b
}

func simple(sql string) []byte { return message('Q', text(sql)) }

func parse(name, sql string) []byte { return message('P', append(text(name, sql), 0, 0)) }

// bind binds parameters of type text; those that begin with a minus are NULL. The
// results are text as well, or binary.
func bind(portal, statement string, binaryResult bool, parameters ...string) []byte {
	body := binary.BigEndian.AppendUint16(append(text(portal, statement), 0, 0), uint16(len(parameters)))
	for _, p := range parameters {
		if p == "-" {
			body = binary.BigEndian.AppendUint32(body, 0xffffffff)
			continue
		}
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(p))), p...)
	}
	if binaryResult {
		return message('B', append(body, 0, 1, 0, 1))
	}
	return message('B', append(body, 0, 0))
}

func execute(portal string, rows uint32) []byte {
	return message('E', binary.BigEndian.AppendUint32(text(portal), rows))
}

func describe(kind byte, name string) []byte {
	return message('D', append([]byte{kind}, text(name)...))
}
func closes(kind byte, name string) []byte { return message('C', append([]byte{kind}, text(name)...)) }

// call is a FunctionCall with arguments in binary.
func call(function uint32, arguments ...[]byte) []byte {
	body := append(binary.BigEndian.AppendUint32(nil, function), 0, 1, 0, 1)
	body = binary.BigEndian.AppendUint16(body, uint16(len(arguments)))
	for _, a := range arguments {
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(a))), a...)
	}
	return message('F', append(body, 0, 1))
}

func int4(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func synced() []byte                { return message('S', nil) }
func flush() []byte                 { return message('H', nil) }
func copyData(data string) []byte   { return message('d', []byte(data)) }
func copyDone() []byte              { return message('c', nil) }
func copyFail(reason string) []byte { return message('f', text(reason)) }
func terminate() []byte             { return message('X', nil) }
func unnamed(sql string) (b []byte) {
	return join(parse("", sql), bind("", "", false), describe('P', ""), execute("", 0))
}
func join(messages ...[]byte) (b []byte) {
	for _, m := range messages {
		b = append(b, m...)
	}
	return b
}
