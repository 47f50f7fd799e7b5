package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// certify writes a certificate for 127.0.0.1 and its key into a directory.
func certify(t testing.TB, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(t, err)
	model := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, model, model, &key.PublicKey, key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	write := func(name, kind string, data []byte) {
		check(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600))
	}
	write("server.crt", "CERTIFICATE", certificate)
	write("server.key", "PRIVATE KEY", private)
}

// withTLS are the settings of a gateway with a certificate, and the certificate.
func withTLS(t testing.TB) (overrides []string, root string) {
	t.Helper()
	dir := shortTempDir(t)
	certify(t, dir)
	return []string{"ssl=on", "ssl_cert_file=" + dir + "/server.crt", "ssl_key_file=" + dir + "/server.key"}, dir + "/server.crt"
}

// sharedWithTLS is such a gateway before the server that all tests share.
func sharedWithTLS(t testing.TB) (b *bed, root string) {
	t.Helper()
	settings, root := withTLS(t)
	return shared(t, settings...), root
}

func trusting(t testing.TB, root string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(root)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

func (b *bed) tls(user, root string) string {
	return strings.Replace(b.tcp(user), "sslmode=disable", "sslmode=verify-full sslrootcert="+root, 1)
}

func TestAClientGetsTLS(t *testing.T) {
	b, root := sharedWithTLS(t)
	besides(t, b)
	conn := open(t, b.tls("scrammer", root)+" channel_binding=disable")
	if _, ok := conn.PgConn().Conn().(*tls.Conn); !ok {
		t.Errorf("got %T", conn.PgConn().Conn())
	}
	if got := one(t, conn, "SELECT length(repeat('x', 3000000))::text"); got != "3000000" {
		t.Error(got)
	}
	if got := one(t, open(t, b.tls("plain", root)+" sslnegotiation=direct"), "SELECT 'direct'"); got != "direct" {
		t.Error(got)
	}
	if got := one(t, open(t, b.tcp("scrammer")), "SELECT 'plain'"); got != "plain" {
		t.Error(got) // nobody has to
	}
	e := refusal(t, b.tls("trusted", root)) // whom TLS does not make anybody
	expectState(t, e, elog.InvalidAuthorization)
}

// After TLS is agreed on, nothing is said or believed in the clear.
func TestBytesSmuggledBeforeTLSAreNotBelieved(t *testing.T) {
	b, root := sharedWithTLS(t)
	besides(t, b)
	for name, smuggled := range map[string][]byte{
		"a start-up packet": packet(version30, "user\x00plain\x00database\x00postgres\x00\x00"),
		"a cancel request":  packet(codeCancel, "\x00\x00\x00\x01\x00\x00\x00\x02"),
		"a byte":            {0},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dial(t)
			p.raw(append(packet(codeSSL, ""), smuggled...))
			if name == "a byte" {
				_ = p.conn.(*net.TCPConn).CloseWrite()
			}
			got, _ := io.ReadAll(p.conn)
			if len(got) == 0 || got[0] != 'S' || strings.Contains(string(got), "SFATAL") {
				t.Errorf("got %q", got)
			}
		})
	}
	if !b.process.said("could not accept SSL connection") {
		t.Error("the log has nothing about it")
	}
	t.Run("before a client's own TLS", func(t *testing.T) {
		p := b.dial(t)
		p.raw(append(packet(codeSSL, ""), packet(version30, "user\x00plain\x00database\x00postgres\x00\x00")...))
		_, err := io.ReadFull(p.conn, make([]byte, 1))
		check(t, err)
		if err := tls.Client(p.conn, trusting(t, root)).Handshake(); err == nil {
			t.Error("what was in the clear is forgotten, or kept for later")
		}
	})
}

func TestWhatMayFollowASSLRequest(t *testing.T) {
	b, root := sharedWithTLS(t)
	besides(t, b)
	ask := func(t *testing.T, p *peer, code uint32, want byte) {
		t.Helper()
		p.raw(packet(code, ""))
		var got [1]byte
		_, err := io.ReadFull(p.conn, got[:])
		check(t, err)
		if got[0] != want {
			t.Fatalf("got %c, want %c", got[0], want)
		}
	}
	encrypt := func(t *testing.T, p *peer) *peer {
		t.Helper()
		ask(t, p, codeSSL, 'S')
		conn := tls.Client(p.conn, trusting(t, root))
		check(t, conn.Handshake())
		return newPeer(t, conn)
	}
	t.Run("GSS, then TLS, then a session", func(t *testing.T) {
		p := b.dial(t)
		ask(t, p, codeGSSENC, 'N')
		p = encrypt(t, p)
		p.login()
	})
	t.Run("a second SSLRequest", func(t *testing.T) {
		p := encrypt(t, b.dial(t))
		p.raw(packet(codeSSL, ""))
		p.fatal("0A000", "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2")
	})
	t.Run("GSS after TLS", func(t *testing.T) {
		p := encrypt(t, b.dial(t))
		p.raw(packet(codeGSSENC, ""))
		p.fatal("0A000", "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2")
	})
	t.Run("a second GSSENCRequest", func(t *testing.T) {
		p := b.dial(t)
		ask(t, p, codeGSSENC, 'N')
		p.raw(packet(codeGSSENC, ""))
		p.fatal("0A000", "")
	})
	t.Run("over a unix socket there is none", func(t *testing.T) {
		p := b.dialUnix(t)
		ask(t, p, codeSSL, 'N')
		p.login()
	})
	t.Run("a cancel request", func(t *testing.T) {
		p := encrypt(t, b.dial(t))
		p.raw(packet(codeCancel, "\x00\x00\x00\x01\x00\x00\x00\x02"))
		p.silentlyOver()
	})
}

// Who begins with TLS at once must name the protocol in it.
func TestDirectTLSNeedsItsProtocolsName(t *testing.T) {
	b, root := sharedWithTLS(t)
	besides(t, b)
	config := trusting(t, root)
	p := b.dial(t)
	conn := tls.Client(p.conn, config)
	check(t, conn.Handshake())
	p = newPeer(t, conn)
	p.raw(packet(version30, "user\x00plain\x00\x00"))
	p.silentlyOver()

	config.NextProtos = []string{"h2"}
	if err := tls.Client(b.dial(t).conn, config).Handshake(); err == nil {
		t.Error("another protocol is accepted")
	}
	config.NextProtos = []string{"postgresql"}
	conn = tls.Client(b.dial(t).conn, config)
	check(t, conn.Handshake())
	p = newPeer(t, conn)
	p.raw(packet(codeSSL, ""))
	p.fatal("0A000", "")
	conn = tls.Client(b.dial(t).conn, config)
	check(t, conn.Handshake())
	newPeer(t, conn).login()
}

// The end of a session over TLS cannot be taken for that of a cut connection.
func TestASessionOverTLSEndsWithAWord(t *testing.T) {
	b, root := sharedWithTLS(t)
	dial := func() *peer {
		config := trusting(t, root)
		config.NextProtos = []string{"postgresql"}
		return newPeer(t, tls.Client(b.dial(t).conn, config))
	}
	for name, end := range map[string]func(p *peer){
		"a Terminate":   func(p *peer) { p.login(); p.send(&pgproto3.Terminate{}) },
		"a refusal":     func(p *peer) { p.startup("trusted") },
		"the server's":  func(p *peer) { p.startup("rejected") },
		"the gateway's": func(p *peer) { p.raw(packet(4<<16, "")) },
	} {
		p := dial()
		end(p)
		if _, err := io.ReadAll(p.conn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := dial()
	p.login()
	b.stop()
	if _, err := io.ReadAll(p.conn); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

var tlsHBA = append([]string{"hostssl all scrammer all scram-sha-256", "hostssl all plain all password", "host all all all reject"}, hba...)

func populateWithCertificate(ctx context.Context, dir string) error {
	certify(nowhere{}, dir)
	return populate(ctx, dir)
}

// nowhere is a test for helpers that run outside of one.
type nowhere struct{ testing.TB }

func (nowhere) Helper()           {}
func (nowhere) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// overTLS is a gateway that reaches its server over TLS.
func overTLS(t testing.TB, overrides ...string) *bed {
	t.Helper()
	s := tlsServer.Running(t)
	return newBed(t, s.ConnInfoTCP()+" sslmode=verify-full sslrootcert='"+s.DataDir()+"/server.crt'", overrides...)
}

func TestTheServersLegMayBeEncrypted(t *testing.T) {
	b := overTLS(t)
	for _, user := range []string{"scrammer", "plain"} {
		for _, conninfo := range []string{b.unix(user), b.tcp(user)} {
			conn := open(t, conninfo)
			if got := one(t, conn, "SELECT ssl::text || current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); got != "true"+user {
				t.Error(got)
			}
			failed := make(chan error, 1)
			go func() {
				_, err := conn.Exec(context.Background(), "SELECT pg_sleep(1000) /* tls */")
				failed <- err
			}()
			busy(t, open(t, tlsServer.Running(t).ConnInfo()), "/* tls */", 1)
			check(t, conn.PgConn().CancelRequest(testContext(t)))
			expectState(t, <-failed, elog.QueryCanceled)
		}
	}
	p := b.dialUnix(t)
	p.startup("scrammer")
	if offer := until[*pgproto3.AuthenticationSASL](p); len(offer.AuthMechanisms) != 1 || offer.AuthMechanisms[0] != "SCRAM-SHA-256" {
		t.Errorf("offers %q", offer.AuthMechanisms)
	}
}

// run runs a program that comes with PostgreSQL, where there is one.
func run(t testing.TB, program string, args ...string) (out string, ok bool) {
	t.Helper()
	path := sharedServer(t).Binaries().Program(program)
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(program); err != nil {
			t.Skipf("there is no %s", program)
		}
	}
	cmd := exec.CommandContext(testContext(t), path, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=/nonexistent"}
	text, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(text)), err == nil
}

// psql runs psql and returns what it prints.
func psql(t testing.TB, conninfo string, args ...string) (out string, ok bool) {
	t.Helper()
	return run(t, "psql", append([]string{"-XAt", conninfo}, args...)...)
}

// libpq says that it could bind the channel if only the server could: with TLS on
// both legs the server takes that for an attack.
func TestChannelBindingAcrossTwoChannelsIsRefusedWithAHint(t *testing.T) {
	settings, root := withTLS(t)
	b := overTLS(t, settings...)
	out, ok := psql(t, b.tls("scrammer", root), "-c", "SELECT 1")
	if ok || !strings.Contains(out, "HINT:  Connect with channel_binding=disable.") {
		t.Errorf("got %v %s", ok, out)
	}
	out, ok = psql(t, b.tls("scrammer", root)+" channel_binding=disable", "-c", "SELECT 'in as ' || current_user")
	if !ok || out != "in as scrammer" {
		t.Errorf("got %v %s", ok, out)
	}
	out, ok = psql(t, b.tls("scrammer", root)+" channel_binding=require", "-c", "SELECT 1")
	if ok {
		t.Errorf("got %s", out)
	}
}

func TestPsqlGetsIn(t *testing.T) {
	b, root := sharedWithTLS(t)
	for name, conninfo := range map[string]string{
		"unix": b.unix("scrammer"), "tcp": b.tcp("md5er"), "tls": b.tls("scrammer", root), "tls and password": b.tls("plain", root),
		"prefer": strings.Replace(b.tcp("scrammer"), "disable", "prefer", 1), "gss": b.tcp("scrammer") + " gssencmode=prefer",
	} {
		if out, ok := psql(t, conninfo, "-c", "SELECT 'in as ' || current_user"); !ok || !strings.HasPrefix(out, "in as ") {
			t.Errorf("%s: %v %s", name, ok, out)
		}
	}
	out, ok := psql(t, strings.Replace(b.tls("scrammer", root), "127.0.0.1", "localhost", 1), "-c", "SELECT 1")
	if ok || !strings.Contains(out, "certificate") {
		t.Errorf("another name: %v %s", ok, out)
	}
}

// A reload with a certificate that can't be used changes everything else.
func TestAReloadWithABadCertificateKeepsTheFormerOne(t *testing.T) {
	b, root := sharedWithTLS(t)
	check(t, b.process.store.Override("gateway_compat", "off"))
	bad := filepath.Dir(root) + "/bad"
	check(t, os.WriteFile(bad, []byte("nonsense"), 0o600))
	check(t, b.process.store.Override("ssl_cert_file", bad))
	if err := b.gateway.configure(); err == nil || !strings.HasPrefix(err.Error(), "could not load server certificate") {
		t.Errorf("got %v", err)
	}
	if b.gateway.settings().compat {
		t.Error("gateway_compat is as it was")
	}
	if got := one(t, open(t, b.tls("plain", root)), "SELECT 'former'"); got != "former" {
		t.Error(got)
	}
	certify(t, filepath.Dir(root))
	check(t, b.process.store.Override("ssl_cert_file", root))
	check(t, b.gateway.configure())
	if got := one(t, open(t, b.tls("plain", root)), "SELECT 'next'"); got != "next" {
		t.Error(got)
	}
}

// A certificate that cannot be used changes nothing when the settings are read again.
func TestACertificateThatCannotBeUsedLeavesTheFormerInForce(t *testing.T) {
	b, root := sharedWithTLS(t)
	key := filepath.Dir(root) + "/server.key"
	good, err := os.ReadFile(key)
	check(t, err)
	expect := func(message string) {
		t.Helper()
		err := b.gateway.configure()
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("got %v, want %s", err, message)
		}
		open(t, b.tls("plain", root))
	}
	check(t, os.Chmod(key, 0o644))
	expect("has group or world access")
	check(t, os.Chmod(key, 0o600))
	check(t, os.WriteFile(key, []byte("garbage"), 0o600))
	expect("could not load server certificate")
	check(t, os.Remove(key))
	expect("could not access private key file")
	check(t, os.WriteFile(key, good, 0o600))
	check(t, b.gateway.configure())

	certify(t, filepath.Dir(root)) // another one takes the place of the first
	check(t, b.gateway.configure())
	open(t, b.tls("plain", root))
	check(t, b.process.store.Override("ssl", "off"))
	check(t, b.gateway.configure())
	if out, ok := psql(t, b.tls("plain", root), "-c", "SELECT 1"); ok || !strings.Contains(out, "server does not support SSL") {
		t.Errorf("got %v %s", ok, out)
	}
}
