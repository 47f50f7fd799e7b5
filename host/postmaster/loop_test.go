package postmaster_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
)

// script says how the fake processes of one name behave.
type script struct {
	fork   time.Duration     // how long the start takes
	err    error             // why there is no process, if so
	life   time.Duration     // until exit; 0: until a signal
	exit   postmaster.Exited // how it ends by itself
	dying  time.Duration     // from a signal until it ends
	ignore []unix.Signal
}

// loop is the shell of a machine in a synctest bubble: one goroutine owns the
// machine and the slots, one more is each process. What happened is in when.
type loop struct {
	t       *testing.T
	events  chan postmaster.Event
	scripts map[string]script
	poked   func()
	slots   *fakeSlots
	world   *world
	m       *postmaster.Machine

	begin   time.Time
	pids    int
	signals map[postmaster.ChildID]chan unix.Signal
	when    map[string][]time.Duration // by the line of the trace
	ticks   int
	exited  chan struct{}
}

// inBubble runs a machine under the fake clock until body returns, and then
// ends it and all processes.
func inBubble(t *testing.T, static []plugins.BackgroundWorker, scripts map[string]script, body func(l *loop)) {
	synctest.Test(t, func(t *testing.T) {
		slots := newFakeSlots(max(8, len(static)))
		l := &loop{
			t: t, events: make(chan postmaster.Event), scripts: scripts, poked: func() {}, slots: slots, world: newWorld(slots),
			m:     postmaster.New(postmaster.Config{Slots: slots, Static: static, Auxiliary: []string{postmaster.ServerMonitor}}),
			begin: time.Now(), signals: map[postmaster.ChildID]chan unix.Signal{},
			when: map[string][]time.Duration{}, exited: make(chan struct{}),
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go l.run(ctx)
		l.send(ctx, postmaster.Started{})
		body(l)
		synctest.Wait()
	})
}

// run is the loop as the shell has it.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0)
	for {
		if at, ok := l.m.NextWake(); ok {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
		var ev postmaster.Event
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			l.ticks++
			ev = postmaster.Tick{}
		case ev = <-l.events:
		}
		l.step(ctx, ev)
	}
}

func (l *loop) step(ctx context.Context, ev postmaster.Event) {
	cmds := l.m.Step(time.Now(), ev)
	for _, problem := range l.world.execute(ev, cmds) {
		l.t.Errorf("after %#v: %s", ev, problem)
	}
	for _, cmd := range cmds {
		line := show(cmd)
		l.when[line] = append(l.when[line], time.Since(l.begin))
		switch c := cmd.(type) {
		case postmaster.Spawn:
			l.pids++
			l.signals[c.Child] = make(chan unix.Signal, 16)
			go l.process(ctx, c, 100+l.pids, l.signals[c.Child])
		case postmaster.Signal:
			l.signals[c.Child] <- c.Sig
		case postmaster.Poke:
			l.poked()
		case postmaster.Exit:
			close(l.exited)
		}
	}
}

// process is the life of a fake process.
func (l *loop) process(ctx context.Context, c postmaster.Spawn, pid int, signals <-chan unix.Signal) {
	s := l.scripts[c.Aux+c.Worker.Name]
	if !sleep(ctx, s.fork) {
		return
	}
	l.send(ctx, postmaster.Spawned{Child: c.Child, Pid: pid, Err: s.err, Transient: true})
	if s.err != nil {
		return
	}
	var end <-chan time.Time
	if s.life > 0 {
		end = time.After(s.life)
	}
	how := s.exit
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			return
		case <-end:
			waiting = false
		case sig := <-signals:
			if how, waiting = s.reaction(sig); !waiting && !sleep(ctx, s.dying) {
				return
			}
		}
	}
	how.Child, how.Pid = c.Child, pid
	l.send(ctx, how)
}

// reaction says how a process ends by a signal, or that it does not.
func (s *script) reaction(sig unix.Signal) (how postmaster.Exited, survives bool) {
	for _, i := range s.ignore {
		if i == sig {
			return s.exit, true
		}
	}
	switch sig {
	case unix.SIGHUP:
		return s.exit, true
	case unix.SIGTERM:
		return code(1), false
	case unix.SIGQUIT:
		return code(2), false
	}
	return killedBy(sig), false
}

func (l *loop) send(ctx context.Context, ev postmaster.Event) {
	select {
	case l.events <- ev:
	case <-ctx.Done():
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// at checks when a line was in the trace; give none for never.
func (l *loop) at(line string, want ...time.Duration) {
	l.t.Helper()
	synctest.Wait()
	var got []time.Duration
	for have, times := range l.when {
		if strings.HasPrefix(have, line) {
			got = append(got, times...)
		}
	}
	if len(got) != len(want) {
		l.t.Errorf("%s: at %v, want %v", line, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			l.t.Errorf("%s: at %v, want %v", line, got, want)
			return
		}
	}
}

// advance lets the fake clock of testing/synctest run on. Nothing really
// sleeps: time passes once every goroutine of the bubble waits.
func advance(d time.Duration) { time.Sleep(d) }
