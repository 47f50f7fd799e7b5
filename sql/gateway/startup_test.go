package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

const version30 = pgproto3.ProtocolVersionNumber

func TestAStartupPacketIsReadAndSaidAgain(t *testing.T) {
	for name, body := range map[string]string{
		"shortest":          "user\x00a\x00\x00",
		"all":               "user\x00a\x00database\x00b\x00options\x00-c x=y\x00replication\x00database\x00_pq_.x\x00\x00\x00",
		"the same twice":    "user\x00a\x00user\x00b\x00\x00",
		"value is empty":    "user\x00a\x00database\x00\x00\x00",
		"not UTF-8":         "user\x00\xff\xfe\x00\x00",
		"a name with a dot": "user\x00a\x00worker_spi.naptime\x0010\x00\x00",
	} {
		s, err := parseStartup(version30, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := packet(version30, body); !bytes.Equal(s.encode(), want) {
			t.Errorf("%s: got %q, want %q", name, s.encode(), want)
		}
	}
}

func TestAStartupPacketThatSaysNothingSensibleIsRefused(t *testing.T) {
	const layout = "invalid startup packet layout: expected terminator as last byte"
	for body, want := range map[string]string{
		"":                              layout,
		"user":                          layout,
		"user\x00":                      layout,
		"user\x00a":                     layout,
		"user\x00a\x00":                 layout,
		"user\x00a\x00\x00\x00":         layout,
		"user\x00a\x00\x00hidden":       layout,
		"user\x00a\x00database":         layout,
		"\x00":                          "no PostgreSQL user name specified in startup packet",
		"user\x00\x00\x00":              "no PostgreSQL user name specified in startup packet",
		"database\x00a\x00\x00":         "no PostgreSQL user name specified in startup packet",
		"user\x00a\x00user\x00\x00\x00": "no PostgreSQL user name specified in startup packet",
	} {
		if _, err := parseStartup(version30, []byte(body)); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", body, err, want)
		}
	}
}

func TestWhatTheGatewayAddsReplacesWhatTheClientSaysOfIt(t *testing.T) {
	s, err := parseStartup(version30, []byte("PGExtHost.Gateway\x00mine\x00user\x00a\x00pgexthost.gateway\x00mine\x00\x00"))
	check(t, err)
	s.set("pgexthost.gateway", "ours")
	if want := packet(version30, "user\x00a\x00pgexthost.gateway\x00ours\x00\x00"); !bytes.Equal(s.encode(), want) {
		t.Errorf("got %q", s.encode())
	}
}

func TestWhoIsAWalsender(t *testing.T) {
	for value, want := range map[string]bool{
		"true": true, "on": true, "1": true, "yes": true, "database": true, "TRUE": true,
		"false": false, "off": false, "0": false, "no": false, "": false, "OFF": false, "f": false,
	} {
		s := &startup{parameters: []parameter{{"user", "a"}, {"replication", value}}}
		if s.isReplication() != want {
			t.Errorf("%q", value)
		}
	}
}

// The limits are those of pqcomm.h: 10000 bytes after the length.
func TestALengthOutOfRangeIsNotReadAnyFurther(t *testing.T) {
	for _, length := range []uint32{0, 4, 7, 10005, 1 << 20, 1 << 31, 0x16030100, 0x47455420} {
		in := bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, length), make([]byte, 20000)...))
		_, _, err := readPacket(in)
		e, ok := errors.AsType[*elog.ErrorData](err)
		if !ok || e.Message != "invalid length of startup packet" || e.Level != elog.Log || in.Len() < 20000-4 {
			t.Errorf("%d: got %v with %d bytes left", length, err, in.Len())
		}
	}
	for _, size := range []int{0, 1, 10004 - 8} {
		code, body, err := readPacket(bytes.NewReader(packet(version30, strings.Repeat("x", size))))
		if err != nil || code != version30 || len(body) != size {
			t.Errorf("%d: got %d, %d bytes, %v", size, code, len(body), err)
		}
	}
}

func TestAStartupPacketThatBreaksOffIsForTheLog(t *testing.T) {
	whole := packet(version30, "user\x00a\x00\x00")
	for i := 1; i < len(whole); i++ {
		_, _, err := readPacket(bytes.NewReader(whole[:i]))
		if e, ok := errors.AsType[*elog.ErrorData](err); i < 8 && !isEnd(err) || i > 8 && (!ok || e.Level != elog.Log) {
			t.Errorf("after %d bytes: %v", i, err)
		}
	}
}

func TestACancelKeyHasTheLengthsOfTheProtocol(t *testing.T) {
	for _, size := range []int{1, 4, 32, 256} {
		body := "\x00\x00\x00\x07" + strings.Repeat("s", size)
		key, err := parseCancel([]byte(body))
		if err != nil || key.pid != 7 || len(key.secret) != size || !bytes.Equal(key.encode(), packet(codeCancel, body)) {
			t.Errorf("%d: got %v, %v", size, key, err)
		}
	}
	for _, size := range []int{0, 3, 4, 4 + 257} {
		if _, err := parseCancel(make([]byte, size)); err == nil {
			t.Errorf("%d: taken", size)
		}
	}
}

func FuzzStartup(f *testing.F) {
	for _, seed := range [][]byte{
		packet(version30, "user\x00a\x00\x00"),
		packet(version30, "user\x00a\x00database\x00b\x00_pq_.x\x00y\x00\x00"),
		packet(3<<16|9, "user\x00a\x00\x00"), packet(2<<16, "x"), packet(codeSSL, ""), packet(codeGSSENC, ""),
		packet(codeCancel, "\x00\x00\x00\x01\x00\x00\x00\x02"), packet(version30, "user\x00a\x00\x00\x00"), {0, 0, 39, 20}, {0x16, 3, 1, 2, 0},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		code, body, err := readPacket(bytes.NewReader(data))
		if err != nil {
			return
		}
		if len(body) > maxStartupPacket {
			t.Fatalf("read %d bytes", len(body))
		}
		if code == codeCancel {
			if key, err := parseCancel(body); err == nil && !bytes.Equal(key.encode(), data[:8+len(body)]) {
				t.Fatalf("said again as %q", key.encode())
			}
			return
		}
		s, err := parseStartup(code, body)
		if err != nil {
			return
		}
		if !bytes.Equal(s.encode(), data[:8+len(body)]) { // the server is to judge what the client has said
			t.Fatalf("said again as %q", s.encode())
		}
		var theirs pgproto3.StartupMessage
		if code == version30 && theirs.Decode(data[4:8+len(body)]) == nil && theirs.Parameters["user"] != s.get("user") {
			t.Fatalf("user is %q, to others %q", s.get("user"), theirs.Parameters["user"])
		}
	})
}

func FuzzFields(f *testing.F) {
	f.Add([]byte("SERROR\x00C42601\x00Msyntax error\x00P7\x00\x00"))
	f.Add([]byte("SERROR\x00C42601"))
	f.Add([]byte{0})
	f.Add([]byte("\x00more"))
	f.Add([]byte("S\x00S\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		whole := msg('E', string(body))
		all, ok := parseFields(whole)
		if !ok {
			return
		}
		if !bytes.Equal(all.encode('E'), whole) {
			t.Fatalf("said again as %q", all.encode('E'))
		}
		all.set('M', "other")
		if i := slices.IndexFunc(all, func(f field) bool { return f.code == 'M' }); i >= 0 && all.get('M') != "other" {
			t.Fatal("not set")
		}
	})
}

// FuzzHandshakeMessage: no length makes readMessage panic or allocate more than
// its limit.
func FuzzHandshakeMessage(f *testing.F) {
	f.Add(msg('p', "s3cret\x00"))
	f.Add(message('R', 1<<30, "x"))
	f.Add(message('R', -1, "x"))
	f.Add(message('R', 3, ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readMessage(bytes.NewReader(data), maxAuthToken)
		if err == nil && (!bytes.HasPrefix(data, got) || len(got) > 1+maxAuthToken) {
			t.Fatalf("got %d bytes", len(got))
		}
		if err == nil && len(got) >= headerSize+4 && len(withoutChannelBinding(got)) > len(got)+2 {
			t.Fatal("grown")
		}
		_ = err == nil && missesChannelBinding(got)
		if errors.Is(err, io.EOF) && len(data) > 0 {
			t.Fatal("the end amid a message is taken for one between two")
		}
	})
}
