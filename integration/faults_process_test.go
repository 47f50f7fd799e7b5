package integration

import (
	"context"
	"os/exec"
	"runtime"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func runtimeGoexit() { runtime.Goexit() }

// grandchild starts a process of its own, which must not outlive an immediate
// shutdown either.
func grandchild(ctx context.Context, w *plugins.Worker) error {
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		return err
	}
	w.Logf(elog.Log, "%s has started process %d", w.Entry().Name, cmd.Process.Pid)
	return wait(ctx, w)
}
