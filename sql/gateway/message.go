package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// readMessage reads one message, whose body is limited: what the handshake needs.
// The relay reads in batches instead, see pump.
func readMessage(in io.Reader, limit int) ([]byte, error) {
	head, err := readHeader(in)
	if err != nil {
		return nil, err
	}
	return readRest(in, head, limit)
}

func readHeader(in io.Reader) (head [headerSize]byte, err error) {
	_, err = io.ReadFull(in, head[:])
	return head, err
}

// readRest returns the whole message that begins with head.
func readRest(in io.Reader, head [headerSize]byte, limit int) ([]byte, error) {
	length := int(int32(binary.BigEndian.Uint32(head[1:])))
	if length < headerSize-1 || length > limit {
		return nil, elog.New(elog.Log, elog.ProtocolViolation, "invalid message length")
	}
	message := make([]byte, 1+length)
	copy(message, head[:])
	_, err := io.ReadFull(in, message[headerSize:])
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // between two messages it would be the end
	}
	return message, err
}

// encodeError is the ErrorResponse that says e.
func encodeError(e *elog.ErrorData) []byte {
	severity := e.Level.String()
	message, err := (&pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: string(e.Code),
		Message: e.Message, Detail: e.Detail, Hint: e.Hint,
	}).Encode(nil)
	if err != nil {
		return nil // a text longer than a message can be
	}
	return message
}

// fields are those of an ErrorResponse or NoticeResponse, in their order.
type fields []field

type field struct {
	code  byte
	value string
}

// parseFields reads them from a message. Nothing of what it says is trusted.
func parseFields(message []byte) (fields, bool) {
	var all fields
	rest := message[headerSize:]
	for len(rest) > 0 && rest[0] != 0 {
		value, after, ok := cutString(rest[1:])
		if !ok {
			return nil, false
		}
		all = append(all, field{rest[0], value})
		rest = after
	}
	return all, len(rest) == 1
}

// get returns the value of a field, or "".
func (f fields) get(code byte) string {
	for _, one := range f {
		if one.code == code {
			return one.value
		}
	}
	return ""
}

// set changes a field that is there.
func (f fields) set(code byte, value string) {
	for i := range f {
		if f[i].code == code {
			f[i].value = value
		}
	}
}

// cut shortens a field that is there, and takes it away if nothing is left. It
// reports whether it has.
func (f *fields) cut(code byte, shorten func(string) string) bool {
	was := f.get(code)
	is := shorten(was)
	if is == was {
		return false
	}
	f.set(code, is)
	*f = slices.DeleteFunc(*f, func(one field) bool { return one.code == code && one.value == "" })
	return true
}

// encode is the message of that type with these fields.
func (f fields) encode(kind byte) []byte {
	message := []byte{kind, 0, 0, 0, 0}
	for _, one := range f {
		message = append(message, one.code)
		message = append(message, one.value...)
		message = append(message, 0)
	}
	return finishMessage(append(message, 0))
}

// finishMessage puts the length into a message.
func finishMessage(message []byte) []byte {
	binary.BigEndian.PutUint32(message[1:], uint32(len(message)-1))
	return message
}
