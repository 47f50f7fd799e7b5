//go:build linux

package integration

import (
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
)

// Who has made two mistakes need not start the host twice to learn of both.
func TestEachMistakeOfTheCommandLineIsReported(t *testing.T) {
	t.Parallel()
	h := startHost(t, withSetting("max_worker_processes=many"), withSetting("post_auth_delay=-1"), withSetting("no_such_setting=1"))
	if code := h.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	h.waitLog(`FATAL:  invalid value for parameter "max_worker_processes": "many"$`)
	h.waitLog(`FATAL:  -1 s is outside the valid range for parameter "post_auth_delay" \(0 s \.\. 2147 s\)$`)
	h.waitLog(`FATAL:  unrecognized configuration parameter "no_such_setting"$`)
	h.awaitLogEnd()
	if n := h.count(`FATAL:`); n != 3 {
		t.Errorf("%d lines say FATAL", n)
	}
}

func TestAWorkerWaitsForPostAuthDelayAndNoLonger(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	h := startHost(t, withSetting("post_auth_delay=1"), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitLog(`LOG:  w waits$`)
	if waited := time.Since(begin); waited < time.Second {
		t.Errorf("the worker ran after %v", waited)
	}
	h.stop()
}
