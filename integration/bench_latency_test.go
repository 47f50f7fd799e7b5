//go:build linux

package integration

import (
	"fmt"
	"testing"

	"github.com/pgexthost/pgexthost/integration/benchlib"
)

// The life of one worker, beside others that run: from its registration to the
// pid that everybody sees (started), to the end of its packages' initialisation
// (loaded), to the first line of its main function (main), to a session
// (connected) and the server's first answer (result); and from its termination
// to the free slot (gone). The worker without a session is another one.
func BenchmarkWorker(b *testing.B) {
	for _, running := range runnings {
		b.Run(fmt.Sprintf("running=%d", running), func(b *testing.B) { benchWorker(b, newBench(b), running) })
	}
}

// The same of a library that is an executable.
func BenchmarkExecutable(b *testing.B) { benchWorker(b, newBench(b, asExecutable(b)), 0) }

func benchWorker(b *testing.B, x *bench, running int) {
	b.Helper()
	s := samples{}
	x.start(running, false)
	for b.Loop() {
		s.floors(b)
		a := x.do(benchlib.Command{Op: benchlib.OpCycle, Workers: 1})
		s.since("started-ns", a.Asked, a.Started)
		s.since("loaded-ns", a.Asked, a.Workers[0].Loaded)
		s.since("main-ns", a.Asked, a.Workers[0].Main)
		s.since("gone-ns", a.Terminate, a.Gone)
		a = x.do(benchlib.Command{Op: benchlib.OpCycle, Workers: 1, Connected: true})
		s.since("connected-ns", a.Asked, a.Workers[0].Connected)
		s.since("result-ns", a.Asked, a.Workers[0].Result)
		s.since("connect-ns", a.Workers[0].Main, a.Workers[0].Connected)
	}
	s.report(b, map[string]string{
		"started-ns": "exec-floor-ns", "main-ns": "exec-floor-ns", "loaded-ns": "program-floor-ns", "gone-ns": "exec-floor-ns",
		"connected-ns": "exec-floor-ns", "result-ns": "exec-floor-ns", "connect-ns": "pgx-floor-ns",
	})
}

// From kill -9 to the first line of the next main.
func BenchmarkCrash(b *testing.B) {
	for _, running := range runnings {
		b.Run(fmt.Sprintf("running=%d", running), func(b *testing.B) {
			x, s := newBench(b), samples{}
			x.start(running, false)
			for b.Loop() {
				s.floors(b)
				a := x.do(benchlib.Command{Op: benchlib.OpCrash, Workers: 1})
				s.since("running-again-ns", a.Killed, a.Restarted.Main)
			}
			s.report(b, map[string]string{"running-again-ns": "exec-floor-ns"})
		})
	}
}

// 400 workers at once, until the last one is in its main function, and until
// the last one is gone. The floor is how often the same program can be run, one
// after the other.
func BenchmarkBurst(b *testing.B) {
	const burst = 400
	for _, running := range runnings {
		b.Run(fmt.Sprintf("running=%d", running), func(b *testing.B) {
			x, s := newBench(b), samples{}
			x.start(running, false)
			for b.Loop() {
				for range 20 {
					s.floors(b)
				}
				a := x.do(benchlib.Command{Op: benchlib.OpCycle, Workers: burst})
				last := a.Started
				for _, w := range a.Workers {
					last = max(last, w.Main)
				}
				s.since("started-ns", a.Asked, a.Started)
				s.since("main-ns", a.Asked, last)
				s.since("gone-ns", a.Terminate, a.Gone)
				s.add("launches/s", burst/(float64(last-a.Asked)/1e9))
				s.add("program-floor/s", 1e9/s.median("program-floor-ns"))
			}
			s.report(b, nil)
		})
	}
}
