package gateway

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A gateway that ended for want of a certificate would begin anew each second, and
// its unix sockets need none.
func TestWithoutACertificateItListensOnUnixSocketsOnly(t *testing.T) {
	settings, root := withTLS(t)
	key := filepath.Join(filepath.Dir(root), "server.key")
	check(t, os.Chmod(key, 0o644))
	b := beginBed(t, sharedServer(t).ConnInfo(), nil, settings...)
	eventually(t, "the log says so", func() bool {
		return b.process.said(fmt.Sprintf("the gateway could not listen on address \"127.0.0.1:%d\": private key file \"%s\" has group or world access", b.port, key))
	})
	open(t, b.unix("plain"))
	if conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", b.port)); err == nil {
		_ = conn.Close()
		t.Error("a client gets in without TLS")
	}

	check(t, os.Chmod(key, 0o600))
	check(t, b.gateway.configure())
	eventually(t, "it listens", func() bool { return b.process.said(`listening on address`) })
	open(t, b.tls("plain", root))
}

func TestACertificateThatIsMissingIsNamed(t *testing.T) {
	settings, root := withTLS(t)
	check(t, os.Remove(root))
	b := beginBed(t, sharedServer(t).ConnInfo(), nil, settings...)
	eventually(t, "the log names it", func() bool {
		return b.process.said("could not load server certificate file \"" + root + "\": No such file or directory")
	})
}

// What the log names can be given to psql -h, wherever that runs.
func TestASocketIsNamedByItsAbsolutePath(t *testing.T) {
	t.Chdir(shortTempDir(t))
	b := beginBed(t, sharedServer(t).ConnInfo(), nil, "unix_socket_directories=.,nowhere")
	dir, err := os.Getwd()
	check(t, err)
	for _, text := range []string{
		fmt.Sprintf(`gateway listening on Unix socket "%s/.s.PGSQL.%d"`, dir, b.port),
		fmt.Sprintf(`the gateway could not listen on Unix socket "%s/nowhere/.s.PGSQL.%d": No such file or directory`, dir, b.port),
	} {
		eventually(t, text, func() bool { return b.process.said(text) })
	}
	open(t, strings.Replace(b.unix("plain"), b.dir, dir, 1))
}

func TestANameThatHasNoAddressIsNamed(t *testing.T) {
	b := beginBed(t, sharedServer(t).ConnInfo(), nil, "listen_addresses=no.such.host.invalid")
	eventually(t, "the log says so", func() bool {
		return b.process.said(`could not translate host name "no.such.host.invalid" to address: `)
	})
}
