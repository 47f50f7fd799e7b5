package gateway

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// What AuthenticationXXX messages ask for. PostgreSQL's AUTH_REQ_*.
const (
	authOK           = 0
	authSASL         = 10
	authSASLContinue = 11
	authSASLFinal    = 12
)

// Limits of what is read before a client is let in. A token is PostgreSQL's
// PG_MAX_AUTH_TOKEN_LENGTH.
const (
	maxAuthToken     = 65535
	maxServerMessage = 1 << 20
)

const scramPlus = "SCRAM-SHA-256-PLUS"

// authentication passes on what server and client have to say to each other until
// the server lets the client in, or not.
type authentication struct {
	client, server net.Conn
	serverTLS      bool
	own            bool // the client is known to be the user who runs the host

	answered bool // the client has proved something to the server
}

// run returns nil when the server's AuthenticationOk has been passed on. refused
// says that the client has been told all there is to say.
func (a *authentication) run() (refused bool, err error) {
	for {
		message, err := readMessage(a.server, maxServerMessage)
		if err != nil {
			return false, serverLost(err)
		}
		switch message[0] {
		case 'E':
			_, err := a.client.Write(a.explain(message))
			return true, err
		case 'R':
			done, err := a.step(message)
			if done || err != nil {
				return false, err
			}
		default: // a notice, or NegotiateProtocolVersion
			if _, err := a.client.Write(message); err != nil {
				return false, err
			}
		}
	}
}

// step passes on one request of the server, and the client's answer.
func (a *authentication) step(message []byte) (done bool, err error) {
	if len(message) < headerSize+4 {
		return false, elog.New(elog.Fatal, elog.ProtocolViolation, "invalid authentication message from the server")
	}
	request := uint32At(message[headerSize:])
	switch request {
	case authOK:
		if !a.answered && !a.own {
			return false, unearned()
		}
	case authSASL:
		message = withoutChannelBinding(message)
	}
	if _, err := a.client.Write(message); err != nil {
		return false, err
	}
	if request == authOK || request == authSASLFinal {
		return request == authOK, nil
	}
	answer, err := a.answer()
	switch {
	case err != nil:
		return false, err
	case request == authSASL && a.serverTLS && missesChannelBinding(answer):
		return false, elog.New(elog.Fatal, elog.InvalidAuthorization, "channel binding cannot pass through the extension host's gateway").
			WithDetail("The connections on both sides of it are encrypted, each with a certificate of its own.").
			WithHint("Connect with channel_binding=disable.")
	}
	a.answered = true
	if _, err := a.server.Write(answer); err != nil {
		return false, serverLost(err)
	}
	return false, nil
}

// answer reads what the client answers. As the server does, it judges the type
// before it believes the length.
func (a *authentication) answer() ([]byte, error) {
	head, err := readHeader(a.client)
	if err != nil {
		return nil, err
	}
	if head[0] != 'p' {
		return nil, elog.New(elog.Fatal, elog.ProtocolViolation, "expected password response, got message type %d", head[0])
	}
	return readRest(a.client, head, maxAuthToken)
}

// unearned refuses a client whom the server takes for the gateway, and whom it has
// asked for nothing.
func unearned() error {
	return elog.New(elog.Fatal, elog.InvalidAuthorization, "the server let the extension host's gateway in without asking the client for anything").
		WithDetail("It has authenticated the host's user and address (trust, peer, ident or a certificate), not the client's.").
		WithHint("Let the server ask for a password (scram-sha-256 in its pg_hba.conf for connections of the host), or connect as the user who runs the host over the gateway's unix socket.")
}

// withoutChannelBinding takes SCRAM-SHA-256-PLUS from an AuthenticationSASL: what
// is bound to one of two encrypted channels is not bound to the other.
func withoutChannelBinding(message []byte) []byte {
	names := bytes.Split(bytes.TrimRight(message[headerSize+4:], "\x00"), []byte{0})
	if len(names) == 1 {
		return message // the server takes nothing else: a client that can't will say so
	}
	names = slices.DeleteFunc(names, func(n []byte) bool { return string(n) == scramPlus })
	shorter := slices.Clone(message[:headerSize+4])
	for _, name := range names {
		shorter = append(append(shorter, name...), 0)
	}
	return finishMessage(append(shorter, 0))
}

// missesChannelBinding reports whether a SASLInitialResponse says that its client
// would bind the channel if the server could. A server that can takes that for an
// attack.
func missesChannelBinding(answer []byte) bool {
	_, rest, ok := cutString(answer[headerSize:])
	return ok && len(rest) > 4 && int32(binary.BigEndian.Uint32(rest)) > 0 && rest[4] == 'y'
}

// explain adds a HINT to an error of the server that has something to do with us.
func (a *authentication) explain(message []byte) []byte {
	told, ok := parseFields(message)
	if !ok || told.get('H') != "" {
		return message
	}
	if told.get('C') == string(elog.ProtocolViolation) && bytes.Contains(message, []byte("unsupported startup parameter")) {
		return append(told, field{'H', `"server_conninfo" seems to lead to a connection pooler. The gateway needs the server itself.`}).encode('E')
	}
	return message
}
