package control

import (
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
)

func TestAWorkerIsFoundByTheNameItWasLaunchedWith(t *testing.T) {
	f, dir := startServer(t)
	// As shared memory gives back what was launched as "größe".
	f.workers = []plugins.WorkerInfo{{Entry: plugins.BackgroundWorker{Name: "gr????e"}, Pid: 12, State: plugins.WorkerRunning}}
	f.gone = []plugins.UnregisteredWorker{{Entry: plugins.BackgroundWorker{Name: "fr??h"}}}
	c := dial(t, dir)
	for _, name := range []string{"größe", "gr????e"} {
		if r, err := c.Do(t.Context(), Request{Op: OpTerminate, Target: name}); err != nil || len(r.Terminated) != 1 {
			t.Errorf("terminate %s: %+v, %v", name, r, err)
		}
	}
	for _, name := range []string{"größe", "früh"} {
		if r, err := c.Do(t.Context(), Request{Op: OpWhy, Target: name}); err != nil || len(r.Answers) != 1 {
			t.Errorf("why %s: %+v, %v", name, r, err)
		}
	}
}
