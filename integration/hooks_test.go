//go:build linux

package integration

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// notNine is the check hook of faults.count.
func notNine(n int) error {
	if n == 9 {
		return errors.New("Nine is one too many.")
	}
	return nil
}

// The postmaster has no hooks, so the workers must say what they refuse.
func TestWorkersReportWhatAHookRefusesAtAReload(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	appendTo(t, dir, "faults.count = 7\n")
	h := startHost(t, inDir(dir), withWorkers(
		plugins.BackgroundWorker{Name: "a", FunctionName: "hup"}, plugins.BackgroundWorker{Name: "b", FunctionName: "hup"},
	))
	h.waitLog(`LOG:  a: faults.count is 7$`)
	h.waitLog(`LOG:  b: faults.count is 7$`)
	appendTo(t, dir, "faults.count = 9\n")
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  parameter "faults.count" changed to "9"$`)
	h.waitLogCount(`LOG:  invalid value for parameter "faults.count": 9$`, 2)
	h.waitLogCount(`DETAIL:  Nine is one too many.$`, 2)
	h.waitLogCount(`CONTEXT:  line \d+ of configuration file ".*/pgexthost.conf"$`, 2)
	h.waitLogCount(`LOG:  a: faults.count is 7$`, 2)
	h.waitLogCount(`LOG:  b: faults.count is 7$`, 2)
	h.stop()
}

func TestAValueThatAHookRefusesAtTheStartIsTheDefault(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t, "")
	appendTo(t, dir, "faults.count = 9\n")
	h := startHost(t, inDir(dir), withWorkers(plugins.BackgroundWorker{Name: "a", FunctionName: "hup"}))
	h.waitLog(`WARNING:  invalid value for parameter "faults.count": 9$`)
	h.waitLog(`LOG:  a: faults.count is 1$`)
	h.stop()
}
