package library

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pgexthost/pgexthost/internal/handshake"
)

// The file is read in pieces, and the block may begin in one and end in the next.
func TestTheMagicBlockIsFoundWhereverItBegins(t *testing.T) {
	want := []int{handshake.ProtocolVersion, handshake.ABIVersion}
	block := []byte(handshake.MagicBlock)
	const piece = 256 << 10
	for at := piece - 2*len(block); at < piece+len(block); at++ {
		text := slices.Concat(bytes.Repeat([]byte{0}, at), block)
		if got := findIn(bytes.NewReader(text)); !slices.Equal(got, want) {
			t.Fatalf("at %d: got %v, want %v", at, got, want)
		}
		if got := findIn(bytes.NewReader(text[:len(text)-1])); got != nil {
			t.Fatalf("cut off at %d: got %v", at, got)
		}
	}
}
