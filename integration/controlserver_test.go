//go:build linux

package integration

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SIGHUP is for every child: the control server takes new settings, too. What
// it reads again is told at DEBUG2, as in every child.
func TestAReloadReachesTheControlServer(t *testing.T) {
	t.Parallel()
	h := startHost(t, withFileSettingsOnly())
	h.waitLog(`LOG:  extension host is ready$`)
	client, err := control.Dial(t.Context(), h.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pids, err := childrenOf(h.pid())
	if err != nil || len(pids) != 1 || !isControlServer(pids[0]) {
		t.Fatalf("children %v, %v", pids, err)
	}
	appendTo(t, h.dir, "log_line_prefix = 'control %p: '\nlog_min_messages = debug2\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`parameter "log_line_prefix" changed to "control %p: "$`)
	appendTo(t, h.dir, "max_parallel_workers = -1\n") // which a child reports at DEBUG2, once it listens
	line := fmt.Sprintf(`^control %d: DEBUG:  %s`, pids[0], `-1 is outside the valid range for parameter "max_parallel_workers"`)
	h.eventually("the control server to read it", func() bool { // one that came too soon was one with the first
		h.signal(unix.SIGHUP)
		return h.count(line) > 0
	})
	_, err = client.Do(t.Context(), control.Request{Op: "nonsense"})
	var report *elog.ErrorData
	if !errors.As(err, &report) {
		t.Errorf("it does not answer any more: %v", err)
	}
	h.stop()
}
