package postmaster_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/shmem"
)

// Somebody sets the clock, forward or back by hours: no timer is to notice. Go
// compares two times by the monotonic clock if both carry its reading, so every
// time that something waits for must carry one, also those that began with what
// the server, or shared memory, says of the time.
func TestEveryTimerRunsOnTheMonotonicClock(t *testing.T) {
	serverStart := time.UnixMicro(serverA.UnixMicro()) // as it comes from shared memory
	for name, arrange := range map[string]func(r *rig){
		"nothing to do":           func(*rig) {},
		"a restart delay":         func(r *rig) { r.exit("w", code(1)) },
		"a crash":                 func(r *rig) { r.exit("w", killedBy(unix.SIGKILL)) },
		"a want of resources":     func(r *rig) { r.exit("w", code(1)); r.pass(5 * time.Second); r.fail("w", unix.EAGAIN, true) },
		"a start that has failed": func(r *rig) { r.exit("w", code(1)); r.pass(5 * time.Second); r.fail("w", unix.EACCES, false) },
		"an auxiliary's restart":  func(r *rig) { r.exit(postmaster.ServerMonitor, code(1)) },
		"a lost server": func(r *rig) {
			r.server(shmem.ServerReadWrite, serverStart)
			r.started("db")
			for range 3 {
				r.exit("db", sqlState("08006"))
				r.server(shmem.ServerReadWrite, serverStart)
				if at, _ := r.m.NextWake(); at.After(r.now) {
					r.pass(at.Sub(r.now))
				}
			}
		},
		"a fast shutdown":       func(r *rig) { r.step(postmaster.ShutdownRequested{Mode: postmaster.FastShutdown}) },
		"an immediate shutdown": func(r *rig) { r.step(postmaster.ShutdownRequested{Mode: postmaster.ImmediateShutdown}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := bareRig(t, []plugins.BackgroundWorker{named("db", database), named("w")}, postmaster.ServerMonitor)
			r.now = time.Now()
			r.step(postmaster.Configured{WorkerStopTimeout: 3 * time.Second, RestartAfterCrash: true})
			r.step(postmaster.Started{})
			r.started(postmaster.ServerMonitor)
			r.started("w")
			arrange(r)
			if at, ok := r.m.NextWake(); !ok || !strings.Contains(at.String(), " m=") {
				t.Errorf("the next wake, %v, has no monotonic reading", at)
			}
		})
	}
}
