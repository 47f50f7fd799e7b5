package control

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/shmem"
)

// echoWeb answers each line with itself.
type echoWeb struct{ host Host }

func (echoWeb) Run(ctx context.Context) { <-ctx.Done() }

func (echoWeb) ServeConn(conn net.Conn) {
	line, _ := bufio.NewReader(conn).ReadString('\n')
	_, _ = io.WriteString(conn, line)
}

// useWeb gives the servers of a test a Web, or takes it away.
func useWeb(t *testing.T, make func(Host) Web) {
	t.Helper()
	before := newWeb
	t.Cleanup(func() { newWeb = before })
	newWeb = make
}

func say(t *testing.T, dir, text string) string {
	t.Helper()
	c := dial(t, dir)
	_ = c.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c.conn, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c.conn)
	if err != nil && !IsHangUp(err) { // it has not listened to the end
		t.Fatal(err)
	}
	return string(answer)
}

func TestWhoSpeaksHTTPGetsTheWeb(t *testing.T) {
	useWeb(t, func(h Host) Web { return echoWeb{h} })
	_, dir := startServer(t)
	for _, line := range []string{"GET / HTTP/1.1\r\n", "PUT / HTTP/1.1\n", "OPTIONS * HTTP/1.1\n"} {
		if answer := say(t, dir, line); answer != line {
			t.Errorf("got %q, want %q", answer, line)
		}
	}
	if _, err := dial(t, dir).Do(t.Context(), Request{Op: OpPs}); err != nil {
		t.Errorf("who speaks our own protocol: %v", err)
	}
	for _, nonsense := range []string{"get / HTTP/1.1\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "         ", "GET\x00 / HTTP/1.1"} {
		if answer := say(t, dir, nonsense); answer != "" {
			t.Errorf("%q: got %q", nonsense, answer)
		}
	}
}

func TestWithoutAWebHTTPIsRefusedAndTheSettingWarnedOf(t *testing.T) {
	useWeb(t, nil)
	f, dir := startServer(t)
	if answer := say(t, dir, "GET / HTTP/1.1\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 501 ") {
		t.Errorf("got %q", answer)
	}
	if len(f.log) != 0 {
		t.Errorf("logged %q", f.log)
	}
	withAddress := &fakeWorker{setting: "localhost:9187"}
	(&server{worker: withAddress}).startWeb(t.Context(), nil)
	if !slices.Equal(withAddress.log, []string{`"metrics_address" has no effect`}) {
		t.Errorf("logged %q", withAddress.log)
	}
}

// The first bytes of a frame are none of a request line, and the other way round.
func TestFramesAreNoHTTP(t *testing.T) {
	var frame strings.Builder
	if err := handshake.Write(&frame, Request{}); err != nil {
		t.Fatal(err)
	}
	if isHTTP([]byte(frame.String()[:4])) {
		t.Error("a frame is taken for HTTP")
	}
	for _, method := range []string{"GET ", "HEAD", "POST", "PUT ", "DELE", "CONN", "OPTI", "TRAC", "PATC", "PRI "} {
		if !isHTTP([]byte(method)) {
			t.Errorf("%q is no HTTP", method)
		}
	}
}

func TestEachRequestIsCountedByWhatItAsksFor(t *testing.T) {
	f, dir := startServer(t)
	c := dial(t, dir)
	want := map[string]shmem.ControlRequest{
		OpPs: shmem.ControlPs, OpWhy: shmem.ControlWhy, OpLaunch: shmem.ControlLaunch, OpTerminate: shmem.ControlTerminate, "dance": shmem.ControlOther,
	}
	for op, kind := range want {
		_, _ = c.Do(t.Context(), Request{Op: op}) // refused or not
		f.mu.Lock()
		if last := f.requests[len(f.requests)-1]; last != kind {
			t.Errorf("%s is counted as %d", op, last)
		}
		f.mu.Unlock()
	}
	if kindOf(OpReload) != shmem.ControlReload || len(f.requests) != len(want) {
		t.Errorf("counted %v", f.requests)
	}
}

func TestThePostmastersAnswerIsAwaited(t *testing.T) {
	f := &fakeWorker{latch: make(chan struct{})}
	s := &server{worker: f, news: make(chan struct{})}
	if err := s.askPostmaster(t.Context()); err != nil {
		t.Error(err)
	}
	f.silent = true
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.askPostmaster(ctx); err == nil {
		t.Error("there was no answer")
	}
}
