package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Codes in the place of a protocol version, and the greatest start-up packet
// without its length. PostgreSQL's, as in pqcomm.h.
const (
	protocolMajor    = 3
	codeCancel       = 1234<<16 | 5678
	codeSSL          = 1234<<16 | 5679
	codeGSSENC       = 1234<<16 | 5680
	maxStartupPacket = 10000
)

// startup is a start-up packet: who wants what from which database.
type startup struct {
	version    uint32
	parameters []parameter // in the order in which they came
}

type parameter struct{ name, value string }

// cancelKey names a session to cancel: pid and secret, as the server gave them.
type cancelKey struct {
	pid    uint32
	secret string
}

// readPacket reads a packet without a type: what a client begins with. An error of
// level LOG is for the log alone, like PostgreSQL's COMMERROR: whoever sends such
// bytes would not understand the answer.
func readPacket(in io.Reader) (code uint32, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < 8 || length > 4+maxStartupPacket {
		return 0, nil, elog.New(elog.Log, elog.ProtocolViolation, "invalid length of startup packet")
	}
	body = make([]byte, length-8)
	if _, err := io.ReadFull(in, body); isEnd(err) {
		return 0, nil, elog.New(elog.Log, elog.ProtocolViolation, "incomplete startup packet")
	} else if err != nil {
		return 0, nil, err
	}
	return binary.BigEndian.Uint32(head[4:]), body, nil
}

// isEnd reports whether err says that there was nothing more to read.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// parseStartup reads the body of a start-up packet of protocol 3. The server judges
// what it says; here it has only to be possible to say it again. Mirrors
// ProcessStartupPacket.
func parseStartup(version uint32, body []byte) (*startup, error) {
	if version>>16 != protocolMajor {
		refusal := elog.New(elog.Fatal, elog.FeatureNotSupported,
			"unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", version>>16, version&0xffff)
		if version>>16 < protocolMajor {
			return nil, bygone{refusal}
		}
		return nil, refusal
	}
	s := &startup{version: version}
	for rest := body; ; {
		name, after, ok := cutString(rest)
		switch {
		case !ok, name == "" && len(after) > 0:
			return nil, elog.New(elog.Fatal, elog.ProtocolViolation, "invalid startup packet layout: expected terminator as last byte")
		case name == "":
			if s.get("user") == "" {
				return nil, elog.New(elog.Fatal, elog.InvalidAuthorization, "no PostgreSQL user name specified in startup packet")
			}
			return s, nil
		}
		value, after, ok := cutString(after)
		if !ok {
			return nil, elog.New(elog.Fatal, elog.ProtocolViolation, "invalid startup packet layout: expected terminator as last byte")
		}
		s.parameters = append(s.parameters, parameter{name, value})
		rest = after
	}
}

// bygone is an error for a client that does not know the messages of protocol 3.
type bygone struct{ told *elog.ErrorData }

func (b bygone) Error() string { return b.told.Error() }
func (b bygone) Unwrap() error { return b.told }

// encode is the message in the form of protocol 2: a type and a text. Mirrors
// pq_putmessage_v2.
func (b bygone) encode() []byte {
	return []byte("E" + b.told.Level.String() + ":  " + b.told.Message + "\n\x00")
}

// cutString takes a string that ends with a NUL from the front.
func cutString(b []byte) (text string, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", nil, false
}

// get returns the value of a parameter, the last of that name, or "".
func (s *startup) get(name string) string {
	for _, p := range slices.Backward(s.parameters) {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// set adds a parameter, in the place of any other of that name.
func (s *startup) set(name, value string) {
	s.parameters = slices.DeleteFunc(s.parameters, func(p parameter) bool { return strings.EqualFold(p.name, name) })
	s.parameters = append(s.parameters, parameter{name, value})
}

// database is the database that is asked for.
func (s *startup) database() string {
	if name := s.get("database"); name != "" {
		return name
	}
	return s.get("user")
}

// isReplication reports whether a walsender is asked for, which speaks another
// language than SQL.
func (s *startup) isReplication() bool {
	switch strings.ToLower(s.get("replication")) {
	case "", "false", "off", "no", "0", "f", "n":
		return false
	}
	return true
}

// encode returns the packet for the server.
func (s *startup) encode() []byte {
	packet := binary.BigEndian.AppendUint32(make([]byte, 4, 512), s.version)
	for _, p := range s.parameters {
		packet = append(packet, p.name...)
		packet = append(packet, 0)
		packet = append(packet, p.value...)
		packet = append(packet, 0)
	}
	packet = append(packet, 0)
	binary.BigEndian.PutUint32(packet, uint32(len(packet)))
	return packet
}

// parseCancel reads the body of a cancel request: a pid, and a secret whose size is
// the protocol's.
func parseCancel(body []byte) (cancelKey, error) {
	if len(body) < 5 || len(body) > 4+256 {
		return cancelKey{}, elog.New(elog.Log, elog.ProtocolViolation, "invalid length of cancel request packet")
	}
	return cancelKey{pid: binary.BigEndian.Uint32(body), secret: string(body[4:])}, nil
}

// encode returns the packet for the server.
func (k cancelKey) encode() []byte {
	packet := binary.BigEndian.AppendUint32(nil, uint32(12+len(k.secret)))
	packet = binary.BigEndian.AppendUint32(packet, codeCancel)
	packet = binary.BigEndian.AppendUint32(packet, k.pid)
	return append(packet, k.secret...)
}

// opening is what a client wants after all talk about encryption: a session or the
// end of another's statement.
type opening struct {
	conn    net.Conn // with TLS, if that was asked for
	tls     bool
	startup *startup   // or
	cancel  *cancelKey // the other
}

// errLeft says that a client has left without a word, as those do who only look
// whether somebody listens.
var errLeft = errors.New("the client has left")

// readOpening talks with a client until it says what it wants. Nothing is read
// beyond a packet, so that no byte that came unencrypted is taken for one that
// came encrypted (CVE-2021-23222).
func (g *gateway) readOpening(conn net.Conn) (opening, error) {
	o := opening{conn: conn}
	first := true
	sslAsked, gssAsked := false, false
	for {
		var code uint32
		var body []byte
		var err error
		if first && g.settings().tls != nil {
			code, body, err = o.readFirst(g)
		} else {
			code, body, err = readPacket(o.conn)
		}
		if err != nil {
			if first && isEnd(err) {
				err = errLeft
			}
			return o, err
		}
		first = false
		switch {
		case code == codeCancel:
			key, err := parseCancel(body)
			o.cancel = &key
			return o, err
		case code == codeSSL && !sslAsked && !o.tls:
			sslAsked = true
			if err := o.answerSSL(g); err != nil {
				return o, err
			}
		case code == codeGSSENC && !gssAsked && !o.tls:
			gssAsked = true
			if _, err := o.conn.Write([]byte{'N'}); err != nil {
				return o, err
			}
		default:
			o.startup, err = parseStartup(code, body)
			return o, err
		}
	}
}
