//go:build linux

package integration

import (
	"testing"

	"github.com/pgexthost/pgexthost/integration/benchlib"
)

// The first line of main of a worker without limits, of one with a limit, and of
// one with a limit of memory, in turn: two hosts and their programs are the same
// but for the setting.
func BenchmarkLimits(b *testing.B) {
	hosts := map[string]*bench{
		"main-ns": newBench(b), "limited-ns": newBench(b, withLimits("bench: files=10000")), "memory-ns": newBench(b, withLimits("bench: memory=256MB")),
	}
	s := samples{}
	for b.Loop() {
		s.floors(b)
		for unit, x := range hosts {
			a := x.do(benchlib.Command{Op: benchlib.OpCycle, Workers: 1})
			s.since(unit, a.Asked, a.Workers[0].Main)
		}
	}
	s.report(b, map[string]string{"main-ns": "exec-floor-ns", "limited-ns": "exec-floor-ns", "memory-ns": "exec-floor-ns"})
	b.ReportMetric((s.median("limited-ns")-s.median("main-ns"))/s.median("program-floor-ns"), "trampoline/program")
	b.ReportMetric(s.median("limited-ns")/s.median("main-ns"), "limited/main")
}
