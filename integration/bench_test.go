//go:build linux

package integration

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/integration/benchlib"
)

// The benchmarks measure a host with worker processes as its users have it: a
// program of its own, integration/benchhost, since what is linked in decides how
// fast a process starts, and this test binary links in a lot. Every figure is
// the median of its run; the floors are taken in the same loop, one beside each
// operation, so that whatever else the machine does hits both. What to compare
// from run to run, or from machine to machine, are the ratios. See
// docs/PERFORMANCE.md.

// runnings are how many workers run beside the one that is measured.
var runnings = []int{0, 10, 100, 400}

// bench is a host to measure, and the connection to its driver.
type bench struct {
	b    *testing.B
	host *testHost
	out  *json.Encoder
	in   *json.Decoder
}

func newBench(b *testing.B, options ...hostOption) *bench {
	b.Helper()
	dir := shortTempDir(b)
	h := startHost(b, append([]hostOption{
		withFileSettingsOnly(), fromProgram(benchProgram(b, "benchhost")), withServer(sharedServer(b).ConnInfo()),
		withSetting("max_worker_processes=1000"), withSetting("shared_preload_libraries=bench"), withSetting("bench.dir=" + dir),
	}, options...)...)
	path := filepath.Join(dir, benchlib.DriverSocket)
	h.eventually("the driver", func() bool { _, err := os.Stat(path); return err == nil })
	var conn net.Conn
	h.eventually("the driver to listen", func() (ok bool) {
		var err error
		conn, err = net.Dial("unix", path)
		return err == nil
	})
	b.Cleanup(func() { _ = conn.Close() })
	return &bench{b, h, json.NewEncoder(conn), json.NewDecoder(conn)}
}

// do has the driver do something.
func (x *bench) do(c benchlib.Command) (a benchlib.Answer) {
	x.b.Helper()
	if err := x.out.Encode(c); err != nil {
		x.b.Fatal(err)
	}
	if err := x.in.Decode(&a); err != nil {
		x.b.Fatal(err)
	}
	if a.Error != "" {
		x.b.Fatal(a.Error)
	}
	return a
}

// start starts workers that stay.
func (x *bench) start(workers int, connected bool) (pids []int) {
	x.b.Helper()
	for _, w := range x.do(benchlib.Command{Op: benchlib.OpStart, Workers: workers, Connected: connected}).Workers {
		pids = append(pids, w.Pid)
	}
	return pids
}

// benchProgram builds a program to measure, as "make build" does, and returns
// its path. The go command keeps what has not changed.
func benchProgram(b *testing.B, pkg string) string {
	b.Helper()
	path, err := filepath.Abs("../bin/bench/" + filepath.Base(pkg))
	if err != nil {
		b.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./"+pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return path
}

// asExecutable has the measured library run from an executable of its own, in
// the place of the host's program.
func asExecutable(b *testing.B) hostOption {
	b.Helper()
	return withSetting("dynamic_library_path=" + filepath.Dir(benchProgram(b, "benchlib/bench")))
}

// samples are what a run has measured, by unit.
type samples map[string][]float64

func (s samples) add(unit string, value float64) { s[unit] = append(s[unit], value) }

// since adds a time of the driver's, unless it was not measured.
func (s samples) since(unit string, from, to int64) {
	if to != 0 {
		s.add(unit, float64(to-from))
	}
}

// timed measures a floor.
func (s samples) timed(unit string, f func() error) error {
	start := time.Now()
	err := f()
	s.add(unit, float64(time.Since(start)))
	return err
}

func (s samples) median(unit string) float64 {
	sorted := slices.Sorted(slices.Values(s[unit]))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// report reports the medians, and how many times its floor each figure of floors
// is. The time per operation says nothing here, since the floors are in it.
func (s samples) report(b *testing.B, floors map[string]string) {
	for unit := range s {
		b.ReportMetric(s.median(unit), unit)
	}
	for unit, floor := range floors {
		if f := s.median(floor); f != 0 {
			b.ReportMetric(s.median(unit)/f, strings.TrimSuffix(unit, "-ns")+"/"+strings.TrimSuffix(floor, "-floor-ns"))
		}
	}
	b.ReportMetric(0, "ns/op")
}

// The floors: a program that does next to nothing (in C, dynamically linked),
// the host's own program that comes to main and leaves, and a bare pgx.Connect
// in a process that is there already.
func (s samples) floors(b *testing.B) {
	b.Helper()
	program, conninfo := benchProgram(b, "benchhost"), sharedServer(b).ConnInfo()
	for unit, f := range map[string]func() error{
		"exec-floor-ns":    exec.Command("/bin/true").Run,
		"program-floor-ns": exec.Command(program, "leave").Run,
		"pgx-floor-ns": func() error {
			conn, err := pgx.Connect(b.Context(), conninfo)
			if err != nil {
				return err
			}
			return conn.Close(b.Context())
		},
	} {
		if err := s.timed(unit, f); err != nil {
			b.Fatal(err)
		}
	}
}
