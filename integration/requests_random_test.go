//go:build linux

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// requestRounds is the environment variable that says how many rounds
// TestEachRequestRunsOnceWhoeverIsKilled has.
const requestRounds = "PGEXTHOST_TEST_REQUEST_ROUNDS"

// outcome is what a client knows of its request.
type outcome int

const (
	committed outcome = iota
	rolledBack
	doubtful // the connection was lost in COMMIT
)

// clients launch requests, each with a main argument of its own.
type clients struct {
	r      *requests
	mu     sync.Mutex
	random *rand.Rand
	known  map[int]outcome
}

// launchOne launches a request in one of several ways, and notes what is known of
// it.
func (c *clients) launchOne(ctx context.Context) {
	c.mu.Lock()
	arg, way := len(c.known)+1, c.random.IntN(5)
	c.known[arg] = rolledBack
	c.mu.Unlock()
	start := []string{"running", "postmaster"}[arg%2]
	launch := fmt.Sprintf("SELECT pgexthost.launch('effects', 'once', main_arg => %d, start_time => '%s')", arg, start)
	conn, err := pgx.Connect(ctx, c.r.conninfo())
	if err != nil {
		return
	}
	defer conn.Close(ctx)
	statements, end := []string{"BEGIN", launch}, "COMMIT"
	switch way {
	case 0:
		end = "ROLLBACK"
	case 1:
		statements, end = []string{"BEGIN", "SAVEPOINT s", launch, "ROLLBACK TO s"}, "ROLLBACK"
	case 2:
		statements = []string{"BEGIN", "SAVEPOINT s", launch, "RELEASE s"}
	}
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return
		}
	}
	_, err = conn.Exec(ctx, end)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case end == "ROLLBACK":
	case err != nil:
		c.known[arg] = doubtful
	default:
		c.known[arg] = committed
	}
}

// TestEachRequestRunsOnceWhoeverIsKilled kills two hosts of one database, their
// launchers and the server at any moment, while clients launch requests and roll
// others back.
func TestEachRequestRunsOnceWhoeverIsKilled(t *testing.T) {
	skipIfShort(t)
	rounds := 30
	if text := os.Getenv(requestRounds); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	server := ownServer(t)
	r := newRequests(t, server)
	random := rand.New(rand.NewPCG(seed, 0))
	c := &clients{r: r, random: rand.New(rand.NewPCG(seed, 1)), known: make(map[int]outcome)}
	hosts := []*testHost{r.host()}
	hosts[0].waitLog("fulfilling the requests")
	hosts = append(hosts, r.host()) // which waits for its chance
	kills := map[string]int{}
	for range rounds {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for range 4 {
					c.launchOne(t.Context())
				}
			})
		}
		pause := time.NewTimer(time.Duration(random.Int64N(int64(40 * time.Millisecond))))
		<-pause.C
		victim := []string{"nobody", "launcher", "launcher", "host", "host", "server"}[random.IntN(6)]
		kills[victim]++
		i := random.IntN(len(hosts))
		switch victim {
		case "launcher":
			hosts[i].kill(hosts[i].launcherPid())
		case "host":
			hosts[i].signal(unix.SIGKILL)
			hosts[i].awaitExit()
			hosts[i] = r.host(inDir(hosts[i].dir))
		case "server":
			crash(t, server)
		}
		all.Wait()
	}
	r.await("SELECT count(*) FROM pgexthost.requests WHERE state IN ('pending', 'started')", "0")
	for _, h := range hosts {
		h.stop()
	}
	t.Logf("kills: %v; %s", kills, c.judge(kills))
}

func crash(t *testing.T, server *localpg.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := server.Crash(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// judge compares what the clients know with what the tables say and what the main
// functions have left behind.
func (c *clients) judge(kills map[string]int) string {
	r := c.r
	rows := make(map[int]string)
	for _, line := range strings.Fields(r.text("SELECT string_agg(main_arg || ':' || state || ':' || coalesce(sqlstate, ''), ' ') FROM pgexthost.requests")) {
		arg, state, _ := strings.Cut(line, ":")
		n, err := strconv.Atoi(arg)
		if err != nil || rows[n] != "" {
			r.t.Errorf("row %q: %v", line, err)
		}
		rows[n] = state
	}
	starts, sum := r.starts(), map[string]int{}
	for arg, known := range c.known {
		state, n := rows[arg], starts[arg]
		sum[state]++
		if state == "failed:57P02" && n == 0 {
			sum["of these nobody saw"]++
		}
		switch {
		case known == rolledBack && (state != "" || n != 0):
			r.t.Errorf("request %d was rolled back, but is %q and has started %d times", arg, state, n)
		case known == committed && state == "":
			r.t.Errorf("request %d was committed, but is not there", arg)
		case state == "" && n != 0, state == "ended:" && n != 1, n > 1:
			r.t.Errorf("request %d is %q and has started %d times", arg, state, n)
		case state != "" && state != "ended:" && state != "failed:57P02":
			r.t.Errorf("request %d is %q, and there was no reason for it", arg, state)
		case state == "failed:57P02" && kills["host"] == 0:
			r.t.Errorf("request %d is %q, though no host was killed", arg, state)
		}
	}
	// The file that says that main begins is there a moment before main leaves its
	// own mark; a kill that hits just then is as rare as that is short.
	if lost := sum["of these nobody saw"]; lost > 1+kills["host"]/20 {
		r.t.Errorf("%d requests never ran", lost)
	}
	return fmt.Sprintf("requests: %v", sum)
}
