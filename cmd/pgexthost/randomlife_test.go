package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// How long the lives are. A longer run, or the one that has failed:
//
//	PGEXTHOST_WALKS=8 PGEXTHOST_ROUNDS=500 go test -run ARandomLife ./cmd/pgexthost
//	PGEXTHOST_WALKS=1 PGEXTHOST_SEED=17 go test -run ARandomLife ./cmd/pgexthost
const (
	defaultWalks  = 4
	defaultRounds = 100
)

// TestARandomLifeLeavesNoOrphanNoLieAndNoDeadDirectory lets random commands,
// signals and mishaps befall hosts, and compares what is left after each with
// what a small model expects, and with what /proc shows.
func TestARandomLifeLeavesNoOrphanNoLieAndNoDeadDirectory(t *testing.T) {
	t.Parallel()
	walks, rounds := numberFromEnv(t, "PGEXTHOST_WALKS", defaultWalks), numberFromEnv(t, "PGEXTHOST_ROUNDS", defaultRounds)
	first := numberFromEnv(t, "PGEXTHOST_SEED", rand.Uint64N(1_000_000_000))
	startGuard(t)
	for seed := first; seed < first+walks; seed++ {
		t.Run(fmt.Sprintf("PGEXTHOST_SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWalk(t, seed)
			for range rounds {
				w.round()
			}
			w.finish()
		})
	}
}

func numberFromEnv(t *testing.T, name string, standard uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// walk is one random life in a data directory of its own.
type walk struct {
	hostDir
	model

	t       *testing.T
	rng     *rand.Rand
	pidFile string // external_pid_file
	other   int    // pid of a process that is no host
	history []string
	taken   int            // steps
	counted map[string]int // of each kind
	waited  int            // steps that took five seconds
}

func newWalk(t *testing.T, seed uint64) *walk {
	w := &walk{
		hostDir: newHostDir(t), t: t, rng: rand.New(rand.NewPCG(seed, 0)),
		model: model{value: 1}, counted: make(map[string]int),
	}
	w.pidFile = filepath.Join(filepath.Dir(w.path), "external.pid")
	w.other = sleeper(t).Process.Pid
	t.Cleanup(w.clearAway)
	t.Cleanup(func() {
		if t.Failed() {
			w.explain()
		}
	})
	w.configure("")
	w.check()
	return w
}

// clearAway ends whatever is left.
func (w *walk) clearAway() {
	eventually(w.t, "nobody is left", func() bool {
		all := procsWith(walkMark + "=" + w.path)
		for _, p := range all {
			p.signal(unix.SIGKILL)
		}
		return len(all) == 0
	})
}

// explain tells how it came to a failure.
func (w *walk) explain() {
	log, _ := os.ReadFile(w.log)
	lines := strings.Split(string(log), "\n")
	w.t.Logf("the steps were\n  %s\nthe model is %+v\nthe truth is\n%v\nthe log ends with\n%s",
		strings.Join(w.history, "\n  "), w.model, takeCensus(w.path), strings.Join(lines[max(0, len(lines)-60):], "\n"))
}

// round takes one step and looks around.
func (w *walk) round() {
	w.t.Helper()
	s := w.choose()
	w.taken++
	w.counted[s.name]++
	w.note("%s", s.name)
	s.take(w)
	w.check()
}

// choose picks one of the steps that can be taken now.
func (w *walk) choose() step {
	total := 0
	for _, s := range steps() {
		if s.when(w) {
			total += s.weight
		}
	}
	n := w.rng.IntN(total)
	for _, s := range steps() {
		if !s.when(w) {
			continue
		}
		if n -= s.weight; n < 0 {
			return s
		}
	}
	panic("unreachable")
}

// isPatient reports whether it may take the five seconds that a host waits for
// what is stopped. They shall not be most of its life.
func (w *walk) isPatient() bool { return len(w.frozen) == 0 || 25*w.waited <= w.taken }

// finish ends the life in good order: whatever has happened, the directory can
// be started.
func (w *walk) finish() {
	w.note("finish")
	if len(w.frozen) > 0 {
		w.thaw()
		w.check()
	}
	if w.phase == absent && w.remains.unreadable() {
		w.removeLockFile()
	}
	if w.broken {
		w.repairConfig()
	}
	if w.phase == absent {
		w.start("-w")
		w.check()
	}
	w.stopIn("fast")
	w.check()
	w.checkLog()
	w.t.Logf("taken: %v", w.counted)
}

// checkLog looks for what no host should ever say.
func (w *walk) checkLog() {
	w.t.Helper()
	log, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, trace := range []string{"DATA RACE", "panic:", "fatal error:", "\ngoroutine ", "PANIC:", "\x00"} {
		if i := bytes.Index(log, []byte(trace)); i >= 0 {
			w.t.Fatalf("in the log is\n%s", log[max(0, i-1000):min(len(log), i+3000)])
		}
	}
}

func (w *walk) note(format string, args ...any) {
	w.history = append(w.history, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// oneOf picks one of several things.
func oneOf[T any](w *walk, things ...T) T { return things[w.rng.IntN(len(things))] }

// begun is a command that runs beside us.
type begun struct {
	w     *walk
	cmd   *exec.Cmd
	ended chan struct{}
	text  string

	stdout, stderr bytes.Buffer
}

// begin runs a command on the directory beside us.
func (w *walk) begin(name string, args ...string) *begun {
	w.t.Helper()
	return w.beginAs(w.program(name, args...))
}

func (w *walk) beginAs(cmd *exec.Cmd) *begun {
	w.t.Helper()
	c := &begun{w: w, cmd: cmd, ended: make(chan struct{}), text: strings.Join(cmd.Args[1:], " ")}
	cmd.Env = append(cmd.Env, walkMark+"="+w.path)
	cmd.Stdout = &c.stdout
	if cmd.Stderr == nil {
		cmd.Stderr = &c.stderr
	}
	cmd.WaitDelay = limit // who holds the pipes after the end?
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.note("  %s is %d", c.text, cmd.Process.Pid)
	go func() {
		defer close(c.ended)
		_ = cmd.Wait()
	}()
	return c
}

// wait returns what the command has come to.
func (c *begun) wait() result {
	c.w.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(2 * limit):
		_ = c.cmd.Process.Signal(unix.SIGQUIT) // for its stack
		<-c.ended
		c.w.t.Fatalf("%s does not end:\n%s%s", c.text, c.stdout.String(), c.stderr.String())
	}
	r := result{c.cmd.ProcessState.ExitCode(), dots.ReplaceAllString(c.stdout.String(), "..."), c.stderr.String()}
	c.w.note("  %s: %+v", c.text, r)
	return r
}

func (w *walk) run(name string, args ...string) result {
	w.t.Helper()
	return w.begin(name, args...).wait()
}

// expect ends the walk unless a command has said just that.
func (w *walk) expect(r result, code int, stdout, stderr string) {
	w.t.Helper()
	if want := (result{code, stdout, stderr}); r != want {
		w.t.Fatalf("got  %+v\nwant %+v", r, want)
	}
}

// until waits until there is no problem any more.
func (w *walk) until(limit time.Duration, problem func() string) {
	w.t.Helper()
	deadline, pause := time.After(limit), time.NewTicker(5*time.Millisecond)
	defer pause.Stop()
	for {
		what := problem()
		if what == "" {
			return
		}
		select {
		case <-pause.C:
		case <-deadline:
			w.t.Fatalf("still so after %v: %s", limit, what)
		}
	}
}

// leftovers returns the names of files with that suffix in the data directory.
func (w *walk) leftovers(suffix string) []string {
	entries, err := os.ReadDir(w.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	return names
}
