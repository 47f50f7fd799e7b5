//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What an idle worker keeps for itself: its private memory, which is gone if it
// is, and its share of all memory (PSS), with and without a session. The floor
// is the same program that has come to main and waits.
func BenchmarkMemory(b *testing.B) {
	for _, connected := range []bool{false, true} {
		for _, running := range []int{10, 100} {
			b.Run(fmt.Sprintf("connected=%t/running=%d", connected, running), func(b *testing.B) {
				x, s := newBench(b), samples{}
				pids := x.start(running, connected)
				for b.Loop() {
					for _, pid := range pids {
						s.memory(b, pid, "")
					}
				}
				for _, pid := range waitingPrograms(b, running) {
					s.memory(b, pid, "floor-")
				}
				s.memory(b, x.host.pid(), "host-")
				s.report(b, nil)
			})
		}
	}
}

func (s samples) memory(b *testing.B, pid int, prefix string) {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var private, pss float64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kB float64
		name, rest, _ := strings.Cut(lines.Text(), ":")
		if _, err := fmt.Sscanf(rest, "%f kB", &kB); err != nil {
			continue
		}
		switch name {
		case "Private_Clean", "Private_Dirty":
			private += kB * 1024
		case "Pss":
			pss = kB * 1024
		}
	}
	s.add(prefix+"private-bytes", private)
	s.add(prefix+"pss-bytes", pss)
}

// waitingPrograms starts the host's program so often, just to be there.
func waitingPrograms(b *testing.B, n int) (pids []int) {
	b.Helper()
	for range n {
		cmd := exec.Command(benchProgram(b, "benchhost"), "wait")
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		if _, err := out.Read(make([]byte, 8)); err != nil {
			b.Fatal(err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	return pids
}

// idleWindow is how long idleness is watched, each time.
const idleWindow = 5 * time.Second

// The processor time that idle workers take, each, in nanoseconds a second, and
// what the host takes, with its auxiliary processes and the driver.
func BenchmarkIdle(b *testing.B) {
	for _, running := range runnings {
		b.Run(fmt.Sprintf("running=%d", running), func(b *testing.B) {
			x, s := newBench(b), samples{}
			pids := x.start(running, false)
			others, err := childrenOf(x.host.pid())
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				workers, host := processorTime(b, pids), processorTime(b, append(except(others, pids), x.host.pid()))
				start := time.Now()
				<-time.After(idleWindow)
				seconds := time.Since(start).Seconds()
				if running > 0 {
					s.add("worker-cpu-ns/s", float64(processorTime(b, pids)-workers)/float64(running)/seconds)
				}
				s.add("host-cpu-ns/s", float64(processorTime(b, append(except(others, pids), x.host.pid()))-host)/seconds)
			}
			s.report(b, nil)
		})
	}
}

func except(all, some []int) (rest []int) {
	skip := make(map[int]bool)
	for _, pid := range some {
		skip[pid] = true
	}
	for _, pid := range all {
		if !skip[pid] {
			rest = append(rest, pid)
		}
	}
	return rest
}

// processorTime is the processor time that processes have taken until now, to the
// nanosecond: /proc/PID/stat counts in hundredths of a second.
func processorTime(b *testing.B, pids []int) (ns int64) {
	b.Helper()
	for _, pid := range pids {
		var ts unix.Timespec
		const cpuClockSched = 2
		if err := unix.ClockGettime(int32(^pid<<3|cpuClockSched), &ts); err != nil {
			b.Fatal(err)
		}
		ns += ts.Nano()
	}
	return ns
}
