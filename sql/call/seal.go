package call

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// secret is what both ends prove by that they are what they say. It lies in
// pgexthost.secret, where the owner of the schema alone reads it.
type secret []byte

// mac mirrors pgexthost.mac. The outer hash keeps anybody from going on with a
// message whose mac he knows.
func (s secret) mac(message []byte) [sha256.Size]byte {
	inner := sha256.New()
	inner.Write(s)
	inner.Write(message)
	outer := sha256.New()
	outer.Write(s)
	outer.Write(inner.Sum(nil))
	return [sha256.Size]byte(outer.Sum(nil))
}

// What the first byte of a message says that it is, so that none can be taken for
// another.
const (
	ofRequest = 'R'
	ofAnswer  = 'A'
	ofStream  = 'S'
)

// callID tells one call from all others: the session's nonce, its server process
// and a number of its own.
type callID [nonceSize + 4 + numberSize]byte

const (
	nonceSize  = 16
	numberSize = 8
)

// number returns the part that the call has for itself.
func (c callID) number() [numberSize]byte { return [numberSize]byte(c[nonceSize+4:]) }

// sessionID returns the part of a callID that all calls of a session share.
// It reports false for what is no nonce.
func sessionID(nonce string, pid uint32) (id callID, ok bool) {
	decoded, err := hex.DecodeString(nonce)
	if err != nil || len(decoded) != nonceSize || nonce != strings.ToLower(nonce) {
		return id, false
	}
	copy(id[:], decoded)
	binary.BigEndian.PutUint32(id[nonceSize:], pid)
	return id, true
}

// request is a message of a function that waits for an answer.
type request struct {
	id       callID
	verb     string
	argument string
	proof    []byte
}

// parseRequest reads the three fields of a marker. It reports false for what no
// function of ours sends; whether the proof is right, proved says.
func parseRequest(session callID, verb, argument, idAndProof string) (r request, ok bool) {
	number, proof, _ := strings.Cut(idAndProof, " ")
	decoded, err := hex.DecodeString(number)
	if err != nil || len(decoded) != numberSize {
		return r, false
	}
	r = request{id: session, verb: verb}
	copy(r.id[nonceSize+4:], decoded)
	if r.proof, err = hex.DecodeString(proof); err != nil {
		return r, false
	}
	text, err := base64.StdEncoding.DecodeString(argument)
	r.argument = string(text)
	return r, err == nil
}

// proved reports whether whoever has sent the request knows the secret.
func (s secret) proved(r request) bool {
	message := append([]byte{ofRequest}, r.id[:]...)
	message = binary.BigEndian.AppendUint32(message, uint32(len(r.verb)))
	message = append(append(message, r.verb...), r.argument...)
	mac := s.mac(message)
	return hmac.Equal(mac[:], r.proof)
}

// The statuses of an answer.
const (
	statusText    = 'a'
	statusNull    = 'n'
	statusError   = 'e'
	statusWorking = 'w' // the answer will take a while
)

// piece is what is said at a time.
type piece struct {
	status byte
	more   bool // pieces follow
	place  int  // of the text in the whole answer, in bytes
	text   string
}

const (
	tagSize    = 8
	headSize   = tagSize + 4
	wordSize   = 4                             // what one lock holds
	mostWords  = 256                           // of a piece
	leastWords = 16                            // of a piece, if it is not the last
	attempts   = 4                             // of saying one thing with other locks
	mostText   = mostWords*wordSize - headSize // of a piece, in bytes
)

// seal returns a piece as it is said: a mac, and the rest enciphered with a stream
// that depends on it (a synthetic initialisation vector). Everybody can see the
// locks of a server, and nobody shall read them; nor can anybody know beforehand
// which locks they will be, and take those. Mirrors pgexthost.unseal.
func (s secret) seal(id callID, attempt int, p piece) []byte {
	said := []byte{p.status, '.', byte(len(p.text) >> 8), byte(len(p.text))}
	if p.more {
		said[1] = '+'
	}
	said = append(said, p.text...)
	message := append([]byte{ofAnswer}, id[:]...)
	message = binary.BigEndian.AppendUint32(message, uint32(p.place))
	message = binary.BigEndian.AppendUint32(message, uint32(attempt))
	mac := s.mac(append(message, said...))

	sealed := append(append([]byte(nil), mac[:tagSize]...), said...)
	for len(sealed)%wordSize != 0 {
		sealed = append(sealed, 0)
	}
	s.encipher(sealed[:tagSize], sealed[tagSize:])
	return sealed
}

func (s secret) encipher(tag, text []byte) {
	for block := 0; block*sha256.Size < len(text); block++ {
		message := binary.BigEndian.AppendUint32(append([]byte{ofStream}, tag...), uint32(block))
		stream := s.mac(message)
		for i, b := range text[block*sha256.Size : min((block+1)*sha256.Size, len(text))] {
			text[block*sha256.Size+i] = b ^ stream[i]
		}
	}
}
