package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// pieces is a reader that gives a stream in the pieces in which it is cut.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	for len(*p) > 0 && len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	(*p)[0] = (*p)[0][n:]
	return n, nil
}

// cutAt cuts a stream at these places.
func cutAt(stream []byte, places ...int) (cut pieces) {
	from := 0
	for _, at := range places {
		cut = append(cut, stream[from:at])
		from = at
	}
	return append(cut, stream[from:])
}

// cutEvery cuts a stream into pieces of one size.
func cutEvery(stream []byte, size int) pieces { return slices.Collect(slices.Chunk(stream, size)) }

func msg(kind byte, body string) []byte { return message(kind, 4+len(body), body) }

// editor is what a pump's examine does here: X is replaced, O omitted, all others
// of uppercase are passed on, and those of lowercase are not looked into.
var edited = types("XOPZ")

func editing(seen *[]string) func(*pump, []byte) (bool, error) {
	return func(p *pump, m []byte) (bool, error) {
		if seen != nil {
			*seen = append(*seen, string(m))
		}
		switch m[0] {
		case 'X':
			return false, send(p, append(msg('Y', "instead of "), m...))
		case 'O':
			return false, nil
		}
		return true, nil
	}
}

// editNaively is what a pump must come to, by other means.
func editNaively(stream []byte) (out []byte, seen []string, err error) {
	for len(stream) >= headerSize {
		size := 1 + int(int32(uint32At(stream[1:])))
		if size < headerSize {
			return out, seen, errNotProtocol
		}
		whole := stream[:min(size, len(stream))]
		looked := whole
		if size > maxExamined {
			looked = whole[:headerSize]
		} else if edited[whole[0]] && len(whole) < size {
			return out, seen, io.EOF // it never comes to its end
		}
		if edited[whole[0]] {
			seen = append(seen, string(looked))
		}
		switch whole[0] {
		case 'X':
			out = append(append(out, msg('Y', "instead of ")...), looked...)
		case 'O':
		default:
			out = append(out, whole...)
		}
		stream = stream[len(whole):]
	}
	return out, seen, io.EOF
}

// expectEdited pumps a stream that comes in pieces.
func expectEdited(t *testing.T, what string, stream []byte, cut pieces) {
	t.Helper()
	var out bytes.Buffer
	var seen []string
	err := newPump(&cut, &out, &edited, editing(&seen)).run()
	wantOut, wantSeen, wantErr := editNaively(stream)
	if !errors.Is(err, wantErr) {
		t.Fatalf("%s: ended with %v, want %v", what, err, wantErr)
	}
	if !bytes.Equal(out.Bytes(), wantOut) {
		t.Fatalf("%s: passed on %d bytes, want %d: %.200q", what, out.Len(), len(wantOut), out.Bytes())
	}
	if !slices.Equal(seen, wantSeen) {
		t.Fatalf("%s: looked into %d messages, want %d", what, len(seen), len(wantSeen))
	}
}

func stream(messages ...[]byte) []byte { return slices.Concat(messages...) }

func TestAStreamIsTheSameHoweverItIsCut(t *testing.T) {
	short := stream(msg('P', "hello"), msg('d', "data"), msg('X', "old"), msg('Z', ""), msg('O', "secret"), msg('O', ""), msg('x', ""), msg('X', "again"), msg('P', "bye"))
	for i := range len(short) + 1 {
		for j := i; j <= len(short); j++ {
			expectEdited(t, fmt.Sprintf("cut at %d and %d", i, j), short, cutAt(short, i, j))
		}
	}
	for size := 1; size <= len(short); size++ {
		expectEdited(t, fmt.Sprintf("cut every %d", size), short, cutEvery(short, size))
	}
	for i := range len(short) { // and whatever it lacks at its end
		expectEdited(t, fmt.Sprintf("only %d bytes", i), short[:i], cutAt(short[:i]))
	}
}

func TestLongMessagesPassTheSameWay(t *testing.T) {
	for _, size := range []int{bufferSize - headerSize - 1, bufferSize - headerSize, bufferSize, bufferSize + 1, 3 * bufferSize, maxExamined - headerSize, maxExamined - headerSize + 1, maxExamined + 7, 2 * maxExamined} {
		for _, kind := range "PXOd" {
			long := stream(msg('P', "before"), msg(byte(kind), strings.Repeat("x", size)), msg('X', "after"), msg('d', "end"))
			for _, piece := range []int{len(long), bufferSize - 1, bufferSize, 4097, 100_003} {
				expectEdited(t, fmt.Sprintf("%c of %d in pieces of %d", kind, size, piece), long, cutEvery(long, piece))
			}
		}
	}
}

// A length is a promise that costs nothing until it is kept.
func TestALengthAloneAllocatesNoMoreThanTheLimit(t *testing.T) {
	for _, kind := range []byte("Pd") {
		for _, length := range []int{maxExamined - 1, maxExamined, 1<<31 - 1} {
			cut := cutAt(append(message(kind, length, ""), make([]byte, 100)...))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_ = newPump(&cut, io.Discard, &edited, editing(nil)).run()
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > maxExamined+4*bufferSize {
				t.Errorf("%c of %d: %d bytes", kind, length, used)
			}
		}
	}
}

// After a long message the room for it is given back.
func TestALongMessagesRoomIsGivenBack(t *testing.T) {
	long := stream(msg('P', strings.Repeat("x", maxExamined/2)), msg('P', "short"))
	cut := cutEvery(long, bufferSize)
	p := newPump(&cut, io.Discard, &edited, editing(nil))
	if err := p.run(); !errors.Is(err, io.EOF) || len(p.buf) != bufferSize {
		t.Errorf("%v, and a buffer of %d", err, len(p.buf))
	}
}

func TestALengthThatMakesNoSenseEndsTheStreamAfterWhatCameBefore(t *testing.T) {
	for _, length := range []int{3, 0, -1, -1 << 31} {
		bad := stream(msg('P', "before"), message('P', length, "rest"))
		expectEdited(t, fmt.Sprint(length), bad, cutAt(bad))
		cut := cutAt(bad)
		var out bytes.Buffer
		p := newPump(&cut, &out, &edited, editing(nil))
		if err := p.run(); !errors.Is(err, errNotProtocol) {
			t.Fatal(err)
		}
		if err := p.flushAll(); err != nil || !bytes.Equal(out.Bytes(), bad) {
			t.Errorf("%v: the other side would see %q", err, out.Bytes())
		}
	}
}

func TestAPumpIsAmidAMessageUntilItsLastByte(t *testing.T) {
	whole := msg('d', "0123456789")
	for i := headerSize; i <= len(whole); i++ {
		cut := cutAt(whole[:i])
		p := newPump(&cut, io.Discard, &edited, editing(nil))
		_ = p.run()
		if p.isAmidMessage() != (i < len(whole)) {
			t.Errorf("after %d of %d bytes: %v", i, len(whole), p.isAmidMessage())
		}
	}
}

func TestAnErrorOfTheOtherSideEndsThePump(t *testing.T) {
	gone := errors.New("gone")
	cut := cutAt(msg('d', "data"))
	if err := newPump(&cut, failing{gone}, &edited, editing(nil)).run(); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	cut = cutAt(msg('X', "data"))
	if err := newPump(&cut, failing{gone}, &edited, editing(nil)).run(); !errors.Is(err, gone) {
		t.Errorf("when examining: got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func FuzzFraming(f *testing.F) {
	f.Add(stream(msg('P', "hello"), msg('X', "old"), msg('O', "secret"), msg('d', "data")), uint16(1))
	f.Add(message('P', 3, "x"), uint16(2))
	f.Add(message('X', 1<<31-1, "x"), uint16(5))
	f.Add(message('d', -1, ""), uint16(4))
	f.Add(message('O', maxExamined+1, strings.Repeat("x", 70000)), uint16(30000))
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		expectEdited(t, "fuzz", data, cutEvery(data, int(size)+1))
	})
}
