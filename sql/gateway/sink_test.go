package gateway

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// socketPair returns both ends of a unix socket.
func socketPair(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	path := filepath.Join(shortTempDir(t), "s")
	l, err := net.Listen("unix", path)
	check(t, err)
	defer func() { _ = l.Close() }()
	client, err := net.Dial("unix", path)
	check(t, err)
	server, err := l.Accept()
	check(t, err)
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return server.(*net.UnixConn), client.(*net.UnixConn)
}

func newTestSink(t *testing.T) (*sink, *net.UnixConn) {
	t.Helper()
	ours, theirs := socketPair(t)
	s, err := newSink(ours)
	check(t, err)
	return s, theirs
}

// flood writes chunks until done says so, and tells how many bytes were taken.
func flood(s *sink, chunk []byte) (taken *atomic.Int64, ended chan error) {
	taken, ended = new(atomic.Int64), make(chan error, 1)
	go func() {
		for {
			n, err := s.Write(chunk)
			taken.Add(int64(n))
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	return taken, ended
}

// isStuck waits until a counter has stood still for a while.
func isStuck(t *testing.T, counter *atomic.Int64) int64 {
	t.Helper()
	last, since := counter.Load(), time.Now()
	eventually(t, "it stands still", func() bool {
		if now := counter.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 200*time.Millisecond
	})
	return last
}

func TestAClientThatDoesNotReadGetsSoMuchAheadAndNoMore(t *testing.T) {
	s, _ := newTestSink(t)
	chunk := make([]byte, bufferSize)
	taken, ended := flood(s, chunk)
	eventually(t, "the look-ahead is taken", func() bool { return taken.Load() >= lookAhead })
	// What is written at the moment, what is waiting behind it, and the kernel's.
	if got := isStuck(t, taken); got > 2*(lookAhead+bufferSize)+1<<20 {
		t.Errorf("%d bytes were taken for a client that does not read", got)
	}
	check(t, s.Close())
	select {
	case <-ended:
	case <-time.After(limit):
		t.Fatal("the writer waits for a connection that is closed")
	}
	s.finish()
}

func TestWhatAClientGetsLateItGetsInOrder(t *testing.T) {
	s, client := newTestSink(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 12<<20)
	for i := range want {
		want[i] = byte(rnd.Uint32())
	}
	go func() {
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(200_000))
			if _, err := s.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		s.finish()
		_ = s.Close()
	}()
	reading := rand.New(rand.NewPCG(3, 4))
	var got bytes.Buffer
	for {
		n, err := io.CopyN(&got, client, 1+reading.Int64N(300_000))
		if n == 0 && errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got %d bytes, want %d, or others", got.Len(), len(want))
	}
}

func TestASinkForAClientThatIsGoneFails(t *testing.T) {
	s, client := newTestSink(t)
	check(t, client.Close())
	taken, ended := flood(s, make([]byte, bufferSize))
	select {
	case <-ended:
	case <-time.After(limit):
		t.Fatalf("still writing after %d bytes", taken.Load())
	}
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("the next Write succeeds")
	}
	s.finish()
}

func TestTheWriteDeadlineEndsTheWait(t *testing.T) {
	s, _ := newTestSink(t)
	taken, ended := flood(s, make([]byte, bufferSize))
	eventually(t, "the look-ahead is taken", func() bool { return taken.Load() >= lookAhead })
	check(t, s.SetWriteDeadline(time.Now()))
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(limit):
		t.Fatal("still waiting")
	}
	s.finish()
}
