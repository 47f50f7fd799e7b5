//go:build linux

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A gateway, and the two things to compare it with: a bare relay, which copies
// bytes and is what any program in the middle costs, and no program at all. All
// three are measured in turn, for a moment each, many times: what else the machine
// does hits all of them, and the ratios are medians of what was measured side by
// side.
type gatewayBench struct {
	b      *testing.B
	places map[string]place
	s      samples
}

const (
	byGateway  = "gateway"
	byRelay    = "relay"
	directly   = "direct"
	benchTable = "gatewaybench"
)

func newGatewayBench(b *testing.B) *gatewayBench {
	b.Helper()
	server := privateServer(b)
	program := benchProgram(b, "benchhost")
	g := startGateway(b, server, fromProgram(program))
	return &gatewayBench{b, map[string]place{byGateway: g.place(), byRelay: startRelay(b, g.testHost, program), directly: direct(server)}, samples{}}
}

// startRelay starts a bare relay to a server.
func startRelay(b *testing.B, h *testHost, program string) place {
	b.Helper()
	dir, server := shortTempDir(b), privateServer(b)
	cmd := exec.Command(program, "relay", filepath.Join(dir, ".s.PGSQL.5432"), filepath.Join(server.Dir(), ".s.PGSQL."+strconv.Itoa(server.Port())))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as the gateway: Linux shares the processors out by session
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	h.eventually("the relay", func() bool {
		conn, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.5432"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return place{dir, 5432}
}

// eachInTurn measures all three in an order that is different each time, and keeps
// the gateway's share of what the relay manages, and the relay's of what goes
// directly. It is of rates: more is better.
func (x *gatewayBench) eachInTurn(unit string, rate func(p place) float64) {
	x.b.Helper()
	measured := map[string]float64{}
	names := []string{byGateway, byRelay, directly}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		measured[name] = rate(x.places[name])
		x.s.add(name+"-"+unit, measured[name])
	}
	x.s.add("gateway/relay", measured[byGateway]/measured[byRelay])
	x.s.add("relay/direct", measured[byRelay]/measured[directly])
}

// rounds is how often each of the three is measured.
const rounds = 15

// pgbench -S: the shortest statements there are, one after the other. The share of
// the throughput that a bare relay reaches, and what is added to the latency.
func BenchmarkGateway(b *testing.B) {
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, clients := range []int{1, 8} {
			b.Run(fmt.Sprintf("mode=%s/clients=%d", mode, clients), func(b *testing.B) { benchPgbench(b, mode, clients) })
		}
	}
}

func benchPgbench(b *testing.B, mode string, clients int) {
	b.Helper()
	x := newGatewayBench(b)
	output(b, x.places[directly].client(b, "pgbench", "postgres", "-i", "-q", "-s", "1"))
	for b.Loop() {
		for range rounds {
			x.eachInTurn("tps", func(p place) float64 {
				return transactionsPerSecond(b, output(b, p.client(b, "pgbench", "postgres", "-n", "-S", "-M", mode,
					"-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(clients, runtime.NumCPU())), "-T", "1")))
			})
		}
	}
	perTransaction := func(name string) float64 { return float64(clients) * 1e9 / x.s.median(name+"-tps") }
	x.s.add("added-to-relay-ns", perTransaction(byGateway)-perTransaction(byRelay))
	x.s.add("added-ns", perTransaction(byGateway)-perTransaction(directly))
	x.s.report(b, nil)
}

var tpsLine = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)$`)

func transactionsPerSecond(b *testing.B, text string) float64 {
	b.Helper()
	match := tpsLine.FindStringSubmatch(text)
	if match == nil {
		b.Fatalf("no rate in:\n%s", text)
	}
	tps, err := strconv.ParseFloat(match[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return tps
}

// One SELECT 1 of pgx at a time.
func BenchmarkGatewaySelect(b *testing.B) {
	x := newGatewayBench(b)
	conns := map[place]*pgx.Conn{}
	for _, p := range x.places {
		conn, err := pgx.Connect(b.Context(), p.conninfo("postgres"))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close(context.WithoutCancel(b.Context()))
		conns[p] = conn
	}
	for b.Loop() {
		for range rounds {
			x.eachInTurn("selects/s", func(p place) float64 {
				const selects = 2000
				start := time.Now()
				for range selects {
					var one int
					if err := conns[p].QueryRow(b.Context(), "SELECT 1").Scan(&one); err != nil {
						b.Fatal(err)
					}
				}
				return selects / time.Since(start).Seconds()
			})
		}
	}
	x.s.report(b, nil)
}

// A new connection, and its end.
func BenchmarkGatewayConnect(b *testing.B) {
	x := newGatewayBench(b)
	for b.Loop() {
		for range rounds {
			x.eachInTurn("connections/s", func(p place) float64 {
				const connections = 20
				start := time.Now()
				for range connections {
					conn, err := pgx.Connect(b.Context(), p.conninfo("postgres"))
					if err != nil {
						b.Fatal(err)
					}
					_ = conn.Close(b.Context())
				}
				return connections / time.Since(start).Seconds()
			})
		}
	}
	x.s.report(b, nil)
}

// COPY, both ways: rows of a hundred bytes, and rows of 64 kB.
func BenchmarkGatewayCopy(b *testing.B) {
	for name, width := range map[string]int{"narrow": 100, "wide": 64 << 10} {
		for _, how := range []string{"out", "in"} {
			b.Run(fmt.Sprintf("rows=%s/way=%s", name, how), func(b *testing.B) { benchCopy(b, how, width) })
		}
	}
}

func benchCopy(b *testing.B, how string, width int) {
	b.Helper()
	x := newGatewayBench(b)
	const size = 64 << 20
	conn, err := pgx.Connect(b.Context(), x.places[directly].conninfo("postgres"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	if _, err := conn.Exec(b.Context(), fmt.Sprintf(`DROP TABLE IF EXISTS %[1]s; CREATE UNLOGGED TABLE %[1]s (t text);
		ALTER TABLE %[1]s ALTER t SET STORAGE EXTERNAL;
		INSERT INTO %[1]s SELECT repeat('x', %[2]d) FROM generate_series(1, %[3]d)`, benchTable, width-1, size/width)); err != nil {
		b.Fatal(err)
	}
	data := filepath.Join(shortTempDir(b), "data")
	output(b, x.places[directly].client(b, "psql", "postgres", "-Xqc", `\copy `+benchTable+" TO '"+data+"'"))
	command := `\copy ` + benchTable + " TO '" + os.DevNull + "'"
	if how == "in" { // the condition keeps the rows out of the table: what is measured is the way there
		command = `\copy ` + benchTable + " FROM '" + data + "' WHERE false"
	}
	for b.Loop() {
		for range rounds {
			x.eachInTurn("MB/s", func(p place) float64 {
				start := time.Now()
				output(b, p.client(b, "psql", "postgres", "-Xqc", command))
				return size / 1e6 / time.Since(start).Seconds()
			})
		}
	}
	x.s.report(b, nil)
}
