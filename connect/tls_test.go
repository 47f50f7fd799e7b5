package connect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/internal/localpg"
)

// certify writes a certificate for 127.0.0.1 and its key into a directory.
func certify(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	write := func(name, kind string, data []byte) {
		check(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600))
	}
	write("server.crt", "CERTIFICATE", certificate)
	write("server.key", "PRIVATE KEY", private)
}

// startWithTLS starts a server that wants SSL and a password by SCRAM, and
// returns how to reach it and the file with its certificate.
func startWithTLS(t *testing.T) (conninfo, root string) {
	t.Helper()
	own, err := localpg.Start(testContext(t), localpg.Options{
		TCP: true, Settings: []string{"ssl=on"}, HBA: []string{"hostssl all secretive all scram-sha-256", "host all all all reject"},
		Populate: func(ctx context.Context, dir string) error {
			certify(t, dir)
			return template.Populate(ctx, dir)
		},
	})
	check(t, err)
	t.Cleanup(func() { _ = own.Stop(context.Background()) })
	conn := open(t, own.ConnInfo(), "")
	_, err = conn.Exec(testContext(t), "CREATE ROLE secretive LOGIN PASSWORD 'S3cr3t'")
	check(t, err)
	return own.ConnInfoTCP() + " user=secretive password=S3cr3t", filepath.Join(own.DataDir(), "server.crt")
}

func TestTLS(t *testing.T) {
	conninfo, root := startWithTLS(t)
	verified := conninfo + " sslmode=verify-full channel_binding=require sslrootcert='" + root + "'"

	t.Run("certificate of an unknown authority is refused with a hint", func(t *testing.T) {
		e := connectTo(t, conninfo+" sslmode=verify-full")
		if e.Code != "08001" || !strings.Contains(e.Message, "certificate") || !strings.Contains(e.Hint, "sslrootcert") {
			t.Errorf("got %s %q, HINT %q", e.Code, e.Message, e.Hint)
		}
	})
	t.Run("end of context cancels the statement", func(t *testing.T) {
		conn := open(t, verified, "")
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error)
		go func() {
			_, err := conn.Exec(ctx, "SELECT pg_sleep(1000)")
			failed <- err
		}()
		running(t, verified, conn)
		cancel()
		if err := <-failed; !connect.IsStatementCancelled(err) {
			t.Errorf("got %v", err)
		}
		if got := query(t, conn, "SELECT 'alive'"); got != "alive" {
			t.Error("the session did not survive")
		}
	})
	t.Run("terminated session says so", func(t *testing.T) {
		conn, other := open(t, verified, ""), open(t, verified, "")
		if got := query(t, other, "SELECT pg_terminate_backend($1, 10000)::text", conn.BackendPid()); got != "true" {
			t.Fatalf("got %s", got)
		}
		_, err := conn.Exec(testContext(t), "SELECT 1")
		if !connect.IsAdminShutdown(err) {
			t.Errorf("got %v", err)
		}
		if _, err = conn.Exec(testContext(t), "SELECT 1"); !connect.IsConnectionLost(err) {
			t.Errorf("afterwards: got %v", err)
		}
	})
}
