package handshake_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/shmem"
)

func TestMessagesSurviveTheWire(t *testing.T) {
	sent := handshake.Startup{
		Protocol: handshake.ProtocolVersion, LayoutHash: math.MaxUint64, Proc: 7,
		Worker: &shmem.Descriptor{Name: "ü\"\\", MainArg: math.MinInt64, Extra: [shmem.ExtraSize]byte{1, 255}},
	}
	var wire bytes.Buffer
	if err := handshake.Write(&wire, sent); err != nil {
		t.Fatal(err)
	}
	var got handshake.Startup
	if err := handshake.Read(&wire, &got); err != nil {
		t.Fatal(err)
	}
	if got.LayoutHash != sent.LayoutHash || got.Proc != sent.Proc || *got.Worker != *sent.Worker {
		t.Errorf("got %+v, want %+v", got, sent)
	}
}

func TestReadRefusesWhatIsNoMessage(t *testing.T) {
	for name, tt := range map[string]struct {
		wire string
		want error
	}{
		"nothing":           {"", io.EOF},
		"half a header":     {"PGX", io.ErrUnexpectedEOF},
		"another program":   {"Hello, world", handshake.ErrFrame},
		"another version":   {"PGX\xff\x00\x00\x00\x02{}", handshake.ErrFrame},
		"too long a claim":  {"PGX\x01\xff\xff\xff\xff", handshake.ErrFrame},
		"less than claimed": {"PGX\x01\x00\xff\xff\xff{}", io.ErrUnexpectedEOF},
		"no JSON":           {"PGX\x01\x00\x00\x00\x02{]", handshake.ErrFrame},
	} {
		t.Run(name, func(t *testing.T) {
			var m handshake.Hello
			if err := handshake.Read(strings.NewReader(tt.wire), &m); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestWriteRefusesWhatDoesNotFit(t *testing.T) {
	err := handshake.Write(io.Discard, handshake.Hello{Error: strings.Repeat("x", handshake.MaxFrame)})
	if err == nil {
		t.Error("an oversized message was accepted")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("PGX\x01\x00\x00\x00\x02{}"))
	f.Add([]byte("PGX\x01\x00\x00\x00\x0a{\"Proc\":-1}"))
	f.Fuzz(func(_ *testing.T, wire []byte) {
		var s handshake.Startup
		var r handshake.PreloadResult
		_ = handshake.Read(bytes.NewReader(wire), &s)
		_ = handshake.Read(bytes.NewReader(wire), &r)
	})
}
