package metrics

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	listening = "listening for metrics"
	livez     = "GET /livez HTTP/1.1\r\nHost: host\r\n\r\n"
	isOK      = "HTTP/1.1 200 OK\r\n"
)

// runFast runs a web that tries again at once.
func runFast(t *testing.T, f *fakeHost) *web {
	t.Helper()
	w := newWeb(f.asHost())
	w.retryEvery = 10 * time.Millisecond
	run(t, w)
	return w
}

// freeAddress is one at which nobody listened a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l := occupy(t, "127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}

func occupy(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func wantAnswer(t *testing.T, conn net.Conn, request, want string) {
	t.Helper()
	if line, err := talk(conn, request); err != nil || line != want {
		t.Errorf("got %q, %v, want %q", line, err, want)
	}
}

func TestTheAddressFollowsTheSetting(t *testing.T) {
	f := newFakeHost()
	runFast(t, f)
	if got := f.reported(""); len(got) != 0 {
		t.Errorf("without an address: %q", got)
	}
	first, second := freeAddress(t), freeAddress(t)
	f.listenAt(first)
	f.awaitReport(t, 1, listening)
	open := connect(t, first)
	wantAnswer(t, open, livez, isOK)
	f.listenAt(second)
	if line := f.awaitReport(t, 2, listening); !strings.Contains(line, second) {
		t.Error(line)
	}
	wantAnswer(t, connect(t, second), livez, isOK)
	if line, err := talk(open, livez); err == nil {
		t.Errorf("a connection to the former address is served: %q", line)
	}
	occupy(t, first) // it is free again
	f.listenAt("")
	for deadline := time.Now().Add(limit); ; {
		l, err := net.Listen("tcp", second)
		if err == nil {
			_ = l.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it still listens")
		}
	}
}

func TestATakenAddressIsReportedOnceAndTriedAgain(t *testing.T) {
	f := newFakeHost()
	w := runFast(t, f)
	taken := occupy(t, "127.0.0.1:0")
	f.listenAt(taken.Addr().String())
	want := fmt.Sprintf(`could not bind metrics address "%s": Address already in use HINT: Is something else listening there?`, taken.Addr())
	f.awaitReport(t, 1, want)
	f.awaitLooks(t, 5) // each of which is an attempt
	ours, theirs := net.Pipe()
	go w.ServeConn(theirs)
	wantAnswer(t, ours, livez, isOK) // the socket does not mind
	_ = ours.Close()
	_ = taken.Close()
	f.awaitReport(t, 1, listening)
	if n := len(f.reported("could not bind")); n != 1 {
		t.Errorf("reported %d times", n)
	}
	wantAnswer(t, connect(t, taken.Addr().String()), livez, isOK)
}

func TestAnAddressThatIsNotOursIsReported(t *testing.T) {
	f := newFakeHost()
	runFast(t, f)
	f.listenAt("192.0.2.1:9187") // of a network for documentation
	f.awaitReport(t, 1, `could not bind metrics address "192.0.2.1:9187": Cannot assign requested address`)
	f.listenAt(freeAddress(t))
	f.awaitReport(t, 1, listening)
}

func TestOnlyReadingIsPossible(t *testing.T) {
	f := newFakeHost()
	runFast(t, f)
	address := freeAddress(t)
	f.listenAt(address)
	f.awaitReport(t, 1, listening)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
		wantAnswer(t, connect(t, address), strings.Replace(livez, "GET", method, 1), "HTTP/1.1 405 Method Not Allowed\r\n")
	}
	wantAnswer(t, connect(t, address), "HEAD /metrics HTTP/1.1\r\nHost: host\r\n\r\n", isOK)
	wantAnswer(t, connect(t, address), "GET /metrics HTTP/1.1\r\nHost: host\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large\r\n")
}

// A crowd that says nothing takes all there is, for as long as a request may
// take to come; then it is the turn of who waits.
func TestACrowdOverTCPIsBounded(t *testing.T) {
	f := newFakeHost()
	w := runFast(t, f)
	address := freeAddress(t)
	f.listenAt(address)
	f.awaitReport(t, 1, listening)
	crowd := make([]net.Conn, maxConnections)
	for i := range crowd {
		crowd[i] = connect(t, address)
		wantAnswer(t, crowd[i], livez, isOK) // it is in
	}
	late := connect(t, address)
	answered := make(chan error, 1)
	go func() {
		line, err := talk(late, livez)
		if err == nil && line != isOK {
			err = fmt.Errorf("got %q", line)
		}
		answered <- err
	}()
	ours, theirs := net.Pipe()
	go w.ServeConn(theirs)
	wantAnswer(t, ours, livez, isOK) // the socket is not theirs
	_ = ours.Close()
	select {
	case err := <-answered:
		t.Fatalf("one too many was served: %v", err)
	case <-time.After(200 * time.Millisecond): // a hundred times what an answer takes
	}
	_ = crowd[0].Close()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestASlowClientIsCutOff(t *testing.T) {
	f := newFakeHost()
	runFast(t, f)
	address := freeAddress(t)
	f.listenAt(address)
	f.awaitReport(t, 1, listening)
	conn := connect(t, address)
	if _, err := conn.Write([]byte("GET /metrics HTT")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	if _, err := io.ReadAll(conn); err != nil { // until it is closed
		t.Errorf("it was not cut off: %v", err)
	}
}

// What the control server hands over is the client's to close, or the end's.
func TestAConnectionOfTheSocketIsServedUntilItIsClosed(t *testing.T) {
	f := newFakeHost()
	w := runFast(t, f)
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); w.ServeConn(theirs) }()
	in := http.Client{Transport: &http.Transport{
		Dial: func(string, string) (net.Conn, error) { return ours, nil }, //nolint:staticcheck // it does not wait
	}}
	for range 3 {
		answer, err := in.Get("http://host/metrics")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("status %d, %v", answer.StatusCode, err)
		}
		_ = answer.Body.Close()
	}
	select {
	case <-done:
		t.Error("it is over while the client is still there")
	default:
	}
	in.CloseIdleConnections()
	<-done
}
