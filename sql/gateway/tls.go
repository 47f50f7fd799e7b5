package gateway

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// alpn is the protocol that a client must name who begins with TLS at once.
const alpn = "postgresql"

// tlsHandshake is the first byte of TLS, and no first byte of a packet of ours.
const tlsHandshake = 0x16

// answerSSL answers an SSLRequest: with TLS, or with "N". Whom TLS fails is told so
// by TLS or not at all: what is not encrypted now, a client must not believe
// (CVE-2021-23222).
func (o *opening) answerSSL(g *gateway) error {
	config := g.settings().tls
	if config == nil || o.conn.LocalAddr().Network() == "unix" {
		_, err := o.conn.Write([]byte{'N'})
		return err
	}
	if _, err := o.conn.Write([]byte{'S'}); err != nil {
		return err
	}
	return o.startTLS(config)
}

func (o *opening) startTLS(config *tls.Config) error {
	conn := tls.Server(o.conn, config)
	if err := conn.Handshake(); err != nil {
		return elog.New(elog.Log, elog.ProtocolViolation, "could not accept SSL connection: %v", err)
	}
	o.conn, o.tls = conn, true
	return nil
}

// readFirst reads the first packet where TLS is on, so that a client may begin with
// that: sslnegotiation=direct of PostgreSQL 17.
func (o *opening) readFirst(g *gateway) (code uint32, body []byte, err error) {
	var head [1]byte
	if _, err := io.ReadFull(o.conn, head[:]); err != nil {
		return 0, nil, err
	}
	o.conn = &prefixed{Conn: o.conn, prefix: head[:]}
	if head[0] != tlsHandshake || o.conn.LocalAddr().Network() == "unix" {
		return readPacket(o.conn)
	}
	if err := o.startTLS(g.settings().tls); err != nil {
		return 0, nil, err
	}
	if o.conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != alpn {
		return 0, nil, elog.New(elog.Log, elog.ProtocolViolation, "received direct SSL connection request without ALPN protocol negotiation extension")
	}
	return readPacket(o.conn)
}

// prefixed is a connection of which some bytes have been read already.
type prefixed struct {
	net.Conn
	prefix []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.prefix)
	p.prefix = p.prefix[n:]
	return n, nil
}

// serverTLS reads certificate and key. As in PostgreSQL, a key that others can read
// is none (check_ssl_key_file_permissions).
func serverTLS(certFile, keyFile string) (*tls.Config, error) {
	if err := checkKeyFile(keyFile); err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if _, missing := errors.AsType[*fs.PathError](err); missing { // the key is there
		return nil, elog.New(elog.Log, elog.ConfigFileError, "could not load server certificate file \"%s\": %s", certFile, elog.OSReason(err))
	}
	if err != nil {
		return nil, elog.New(elog.Log, elog.ConfigFileError, "could not load server certificate \"%s\" with private key \"%s\": %v", certFile, keyFile, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS12}, nil
}

// CheckCertificate reports what keeps the gateway from offering TLS with these files,
// as an *elog.ErrorData of SQLSTATE F0000.
func CheckCertificate(certFile, keyFile string) error {
	_, err := serverTLS(certFile, keyFile)
	return err
}

func checkKeyFile(path string) error {
	file, err := os.Stat(path)
	if err != nil {
		return elog.New(elog.Log, elog.ConfigFileError, "could not access private key file \"%s\": %s", path, elog.OSReason(err))
	}
	owner, _ := file.Sys().(*syscall.Stat_t)
	mode := file.Mode()
	switch {
	case !mode.IsRegular():
		return elog.New(elog.Log, elog.ConfigFileError, "private key file \"%s\" is not a regular file", path)
	case owner == nil || owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return elog.New(elog.Log, elog.ConfigFileError, "private key file \"%s\" must be owned by the host's user or root", path)
	case owner.Uid != 0 && mode&0o077 != 0, mode&0o037 != 0:
		return elog.New(elog.Log, elog.ConfigFileError, "private key file \"%s\" has group or world access", path).
			WithDetail("File must have permissions u=rw (0600) or less if owned by the host's user, or permissions u=rw,g=r (0640) or less if owned by root.")
	}
	return nil
}

// uint32At reads a number of the protocol.
func uint32At(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
