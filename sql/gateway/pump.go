package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
)

// A message is a type, the length of the rest, and the rest.
const headerSize = 5

// bufferSize is what is read at once. A session takes two of these.
const bufferSize = 32 << 10

// maxExamined is the longest message that is looked into. A longer one is passed
// on as it is, piece by piece, but counts like any other.
const maxExamined = 1 << 20

// errNotProtocol says that a length makes no sense. Nothing can be read from
// there on. What came before has been passed on.
var errNotProtocol = errors.New("invalid message length")

// pump passes on the messages of one direction. One goroutine owns it.
type pump struct {
	in  io.Reader
	out io.Writer

	// examine is asked for each message of a type in wanted, which is complete and
	// valid until the next call; of one longer than maxExamined it gets the header
	// alone. It returns whether the message goes on as it is; otherwise nothing does
	// but what it writes to out itself, after flush.
	wanted  atomic.Pointer[[256]bool]
	examine func(p *pump, message []byte) (passOn bool, err error)

	buf                 []byte
	start, scanned, end int  // buf[start:scanned] is to be passed on, buf[scanned:end] is not looked at yet
	rest                int  // what is to come of a message that is passed on piece by piece
	dropping            bool // that message is not passed on
}

func newPump(in io.Reader, out io.Writer, wanted *[256]bool, examine func(*pump, []byte) (bool, error)) *pump {
	p := &pump{in: in, out: out, examine: examine, buf: make([]byte, bufferSize)}
	p.wanted.Store(wanted)
	return p
}

// run passes on messages until there are no more, or an error. The end of in is
// io.EOF.
func (p *pump) run() error {
	for {
		if err := p.work(); err != nil {
			return err
		}
		if err := p.flush(); err != nil {
			return err
		}
		p.makeRoom()
		n, err := p.in.Read(p.buf[p.end:])
		p.end += n
		if n == 0 && err != nil {
			return err
		}
	}
}

// work looks at all that has been read.
func (p *pump) work() error {
	for p.scanned < p.end {
		if p.rest > 0 {
			p.advance()
			continue
		}
		size, ok := p.size()
		if size < 0 {
			return errors.Join(errNotProtocol, p.flush())
		}
		if !ok {
			return nil
		}
		if !p.wanted.Load()[p.buf[p.scanned]] {
			p.rest = size
			continue
		}
		seen := size
		if size > maxExamined {
			seen = headerSize
		}
		if p.end-p.scanned < seen {
			return nil
		}
		passOn, err := p.examine(p, p.buf[p.scanned:p.scanned+seen])
		if err != nil {
			return err
		}
		if !passOn {
			if err := p.flush(); err != nil {
				return err
			}
		}
		p.rest, p.dropping = size, !passOn
	}
	return nil
}

// advance goes on with what has come of a message that has been decided upon.
func (p *pump) advance() {
	n := min(p.rest, p.end-p.scanned)
	p.scanned += n
	p.rest -= n
	if p.dropping {
		p.start = p.scanned
		p.dropping = p.rest > 0
	}
}

// behind returns what has been read behind the message that is being examined.
func (p *pump) behind(message []byte) []byte {
	return p.buf[min(p.scanned+len(message), p.end):p.end]
}

// flushAll passes on what is not looked at either.
func (p *pump) flushAll() error {
	p.scanned = p.end
	return p.flush()
}

// isAmidMessage reports whether part of a message has been passed on, so that no
// other can follow.
func (p *pump) isAmidMessage() bool { return p.rest > 0 && !p.dropping }

// size is that of the message that comes next, header included, or negative if
// there is no such length; ok is false if its header has not come yet.
func (p *pump) size() (size int, ok bool) {
	if p.end-p.scanned < headerSize {
		return 0, false
	}
	length := int(int32(binary.BigEndian.Uint32(p.buf[p.scanned+1:])))
	if length < headerSize-1 {
		return -1, false
	}
	return 1 + length, true
}

// flush passes on what was looked at. A function that examines a message calls it
// before it writes to out.
func (p *pump) flush() error {
	if p.start == p.scanned {
		return nil
	}
	_, err := p.out.Write(p.buf[p.start:p.scanned])
	p.start = p.scanned
	return err
}

// makeRoom makes room for the rest of the message that comes next, if it is one to
// be looked into, and gives the room for a long one back.
func (p *pump) makeRoom() {
	pending := p.end - p.scanned
	need := bufferSize
	if size, ok := p.size(); ok && p.rest == 0 && p.wanted.Load()[p.buf[p.scanned]] && size <= maxExamined {
		need = max(need, size)
	}
	if len(p.buf) != need && (need > len(p.buf) || pending <= bufferSize) {
		grown := make([]byte, need)
		copy(grown, p.buf[p.scanned:p.end])
		p.buf = grown
	} else {
		copy(p.buf, p.buf[p.scanned:p.end])
	}
	p.start, p.scanned, p.end = 0, 0, pending
}
