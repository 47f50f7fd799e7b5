package gateway

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestWhoHasAPasswordGetsIn(t *testing.T) {
	b := shared(t)
	for _, user := range []string{"scrammer", "md5er", "plain"} {
		for over, conninfo := range map[string]string{"unix": b.unix(user), "tcp": b.tcp(user)} {
			t.Run(user+" over "+over, func(t *testing.T) {
				if got := one(t, open(t, conninfo), "SELECT current_user::text"); got != user {
					t.Errorf("in as %s", got)
				}
				e := refusal(t, conninfo+" password=wrong")
				if e.Code != string(elog.InvalidPassword) {
					t.Errorf("with a wrong password: got %v", e)
				}
			})
		}
	}
}

func TestWhatTheServerGivesToTheGatewayIsForTheOwnUserOnly(t *testing.T) {
	b := shared(t)
	if got := one(t, open(t, b.unix("trusted")), "SELECT current_user::text"); got != "trusted" {
		t.Errorf("in as %s", got)
	}
	e := refusal(t, b.tcp("trusted"))
	if e.Code != string(elog.InvalidAuthorization) || !strings.Contains(e.Hint, "scram-sha-256") {
		t.Errorf("got %v, HINT %s", e, e.Hint)
	}
	d := direct(t)
	eventually(t, "the refused client's server session ends", func() bool { return sessions(t, d, "trusted") == "1" })
}

// Another user's process is let in by its password, and by nothing else.
func TestAnotherUsersClientMustEarnItsSession(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to start a process of another user")
	}
	b := shared(t)
	as := func(uid uint32, user string) string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{onlyConnect + "=" + b.unix(user)}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	for _, tt := range []struct {
		uid  uint32
		user string
		want string
	}{
		{65534, "trusted", "28000 "}, {65534, "postgres", "28000 "}, {0, "trusted", "in as trusted"},
		{65534, "scrammer", "in as scrammer"}, {65534, "md5er", "in as md5er"}, {65534, "plain", "in as plain"},
	} {
		t.Run(fmt.Sprint(tt.user, " by ", tt.uid), func(t *testing.T) {
			if got := as(tt.uid, tt.user); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestTheServersRefusalsArePassedOn(t *testing.T) {
	b := shared(t)
	for user, code := range map[string]string{"rejected": "28000", "nobody_at_all": "28000", "peerless": "28000"} {
		e := refusal(t, b.unix(user))
		if e.Code != code || strings.Contains(e.Message, "gateway") {
			t.Errorf("%s: got %v", user, e)
		}
	}
	e := refusal(t, b.unix("scrammer")+" dbname=atlantis")
	if e.Code != string(elog.UndefinedDatabase) || e.Message != `database "atlantis" does not exist` {
		t.Errorf("got %v", e)
	}
}

// A role that the server trusts is not earned by anything that a client says
// without having been asked.
func TestNothingUnaskedEarnsASession(t *testing.T) {
	b := shared(t)
	for name, say := range map[string]func(p *peer){
		"a password before it is asked for": func(p *peer) {
			p.startup("trusted")
			p.raw(message('p', 4+7, "s3cret\x00"))
		},
		"a password with the start-up packet": func(p *peer) {
			p.raw(append(encode(t, startupMessage(196608, "trusted")), message('p', 4+7, "s3cret\x00")...))
		},
		"a query with the start-up packet": func(p *peer) {
			p.raw(append(encode(t, startupMessage(196608, "trusted")), message('Q', 4+9, "SELECT 1\x00")...))
		},
		"a walsender":          func(p *peer) { p.startup("postgres", "replication", "true") },
		"a logical walsender":  func(p *peer) { p.startup("postgres", "replication", "database") },
		"options":              func(p *peer) { p.startup("trusted", "options", "-c role=scrammer") },
		"another role in it":   func(p *peer) { p.startup("trusted", "role", "postgres", "session_authorization", "postgres") },
		"a greater minor":      func(p *peer) { p.send(startupMessage(3<<16|9, "trusted")) },
		"a protocol extension": func(p *peer) { p.startup("trusted", "_pq_.trust", "me") },
		"the nonce's name":     func(p *peer) { p.startup("trusted", "pgexthost.gateway", "me") },
		"two users, the trusted last": func(p *peer) {
			p.raw(packet(196608, "user\x00scrammer\x00user\x00trusted\x00\x00"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.dial(t)
			say(p)
			for {
				kind, body := p.hear()
				if kind == 'N' || kind == 'v' {
					continue
				}
				if kind != 'E' || !bytes.Contains(body, []byte("\x00C28000\x00")) {
					t.Fatalf("got %c %q", kind, body)
				}
				p.silentlyOver()
				return
			}
		})
	}
}

// What was answered wrongly is for the server to refuse.
func TestAWrongAnswerEarnsNothing(t *testing.T) {
	b := shared(t)
	for user, answer := range map[string]pgproto3.FrontendMessage{
		"plain":    &pgproto3.PasswordMessage{Password: ""},
		"md5er":    &pgproto3.PasswordMessage{Password: "md5" + strings.Repeat("0", 32)},
		"scrammer": &pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=")},
	} {
		t.Run(user, func(t *testing.T) {
			p := b.dial(t)
			p.startup(user)
			p.receive()
			p.send(answer)
			for {
				m := p.receive()
				if _, ok := m.(*pgproto3.AuthenticationOk); ok {
					t.Fatal("let in")
				}
				if _, ok := m.(*pgproto3.ErrorResponse); ok {
					p.over()
					return
				}
				p.send(&pgproto3.SASLResponse{Data: []byte("c=biws,r=x,p=AAAA")})
			}
		})
	}
}

func TestOnlyAPasswordAnswersTheRequestForOne(t *testing.T) {
	b := shared(t)
	p := b.dial(t)
	p.startup("plain")
	until[*pgproto3.AuthenticationCleartextPassword](p)
	p.send(&pgproto3.Query{String: "SELECT 1"})
	p.fatal("08P01", "expected password response, got message type 81")
}

func TestChannelBindingIsNotOffered(t *testing.T) {
	offer := func(names ...string) []byte {
		return msg('R', "\x00\x00\x00\x0a"+strings.Join(names, "\x00")+"\x00\x00")
	}
	for _, tt := range []struct{ offered, want []byte }{
		{offer("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), offer("SCRAM-SHA-256")},
		{offer("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER"), offer("SCRAM-SHA-256", "OAUTHBEARER")},
		{offer("SCRAM-SHA-256"), offer("SCRAM-SHA-256")},
		{offer("SCRAM-SHA-256-PLUS"), offer("SCRAM-SHA-256-PLUS")}, // or there would be nothing
	} {
		if got := withoutChannelBinding(tt.offered); !bytes.Equal(got, tt.want) {
			t.Errorf("of %q: %q", tt.offered, got)
		}
	}
}

func TestAClientThatMissesChannelBindingIsRecognised(t *testing.T) {
	answer := func(data string) []byte {
		return encode(t, &pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte(data)})
	}
	for data, want := range map[string]bool{"y,,n=,r=x": true, "n,,n=,r=x": false, "p=tls-server-end-point,,": false, "": false} {
		if got := missesChannelBinding(answer(data)); got != want {
			t.Errorf("%q: %v", data, got)
		}
	}
	for _, broken := range [][]byte{msg('p', ""), msg('p', "x"), msg('p', "x\x00"), msg('p', "x\x00\xff\xff\xff\xffy"), msg('p', "x\x00\x00\x00\x00\x09")} {
		if missesChannelBinding(broken) {
			t.Errorf("%q: true", broken)
		}
	}
}
