package shmem_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

// Another process is woken by its latch and wakes us by ours; an operation is
// both. The floors are the same with nothing around the futex, and with a byte
// through a pipe.
func BenchmarkLatchWake(b *testing.B) {
	s, a := newSegment(b, 1, 2)
	for _, bench := range []struct {
		name, role string
		turn       func()
	}{
		{"latch", "pong", func() { ping(s.Proc(0).Latch(), s.Proc(1).Latch()) }},
		{"floor=futex", "pong-futex", func() { shmem.PingFutex(s, 0, 1) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := startProcess(b, bench.role, s, a)
			p.readLine(b)
			for b.Loop() {
				bench.turn()
			}
		})
	}
	b.Run("floor=pipe", benchmarkPipe)
}

// ping wakes the other one and waits to be woken.
func ping(other, own shmem.Latch) {
	other.Set()
	own.Wait(-1)
	own.Reset()
}

func pong() error {
	s, _, err := attachInherited()
	if err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("here\n")
	for own, other := s.Proc(0).Latch(), s.Proc(1).Latch(); ; {
		own.Wait(-1)
		own.Reset()
		other.Set()
	}
}

func pongFutex() error {
	s, _, err := attachInherited()
	if err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("here\n")
	for {
		shmem.PongFutex(s, 0, 1)
	}
}

func benchmarkPipe(b *testing.B) {
	cmd := exec.Command("cat") // reads and writes, and nothing else
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	for buf := []byte{1}; b.Loop(); {
		if _, err := in.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := out.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
