package handshake

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxFrame bounds the payload of one message, in bytes.
const MaxFrame = 16 << 20

// frameHeader is the magic number and the payload's length.
const frameHeader = 8

var frameMagic = [4]byte{'P', 'G', 'X', ProtocolVersion}

// ErrFrame says that the other side does not speak this protocol, or not this
// version of it.
var ErrFrame = errors.New("malformed handshake message")

// Write sends one message. It returns an error if the message is larger than
// MaxFrame or can't be written.
func Write(w io.Writer, message any) error {
	payload, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("could not encode handshake message: %w", err)
	}
	if len(payload) > MaxFrame {
		return fmt.Errorf("handshake message has %d bytes, more than the %d allowed", len(payload), MaxFrame)
	}
	frame := make([]byte, frameHeader, frameHeader+len(payload))
	copy(frame, frameMagic[:])
	binary.BigEndian.PutUint32(frame[4:], uint32(len(payload)))
	_, err = w.Write(append(frame, payload...))
	return err
}

// Read receives one message into message. It returns io.EOF if the other side
// is gone before the first byte, io.ErrUnexpectedEOF if it goes away within a
// message, and an ErrFrame if what arrives is no message.
func Read(r io.Reader, message any) error {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return err
	}
	if !bytes.Equal(header[:4], frameMagic[:]) {
		return fmt.Errorf("%w: it starts with %q", ErrFrame, header[:4])
	}
	length := int64(binary.BigEndian.Uint32(header[4:]))
	if length > MaxFrame {
		return fmt.Errorf("%w: it claims %d bytes", ErrFrame, length)
	}
	var payload bytes.Buffer // grows with what arrives, not with what is claimed
	switch n, err := io.CopyN(&payload, r, length); {
	case errors.Is(err, io.EOF) && n < length:
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	if err := json.Unmarshal(payload.Bytes(), message); err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return nil
}
