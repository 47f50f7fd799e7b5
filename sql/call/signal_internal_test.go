package call

import (
	"context"
	"encoding/json"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// deadHost says of every worker the same.
type deadHost struct {
	Host

	status plugins.HandleStatus
	pid    int
}

func (h deadHost) GetBackgroundWorkerPid(plugins.Handle) (plugins.HandleStatus, int, error) {
	return h.status, h.pid, nil
}

// Between the look for a worker and the signal it may have ended, and its pid may be
// another process's.
func TestAWorkerThatHasEndedMeanwhileIsNotSignalled(t *testing.T) {
	argument, err := json.Marshal(signalRequest{workerKey: workerKey{Pid: 4711}, Terminate: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		host   deadHost
		killed int
	}{
		"runs":        {deadHost{status: plugins.HandleStarted, pid: 4711}, -4711},
		"has ended":   {deadHost{status: plugins.HandleStopped, pid: 4711}, 0},
		"runs again":  {deadHost{status: plugins.HandleStarted, pid: 4712}, 0},
		"is to start": {deadHost{status: plugins.HandleNotYetStarted}, 0},
		"has no pid":  {deadHost{status: plugins.HandleStarted}, 0},
	} {
		killed := 0
		g := signaller{host: tt.host, kill: func(pid int, _ unix.Signal) error { killed = pid; return nil }}
		said, err := g.signal(context.Background(), nil, string(argument))
		if err != nil || killed != tt.killed || (said.text == "") != (tt.killed != 0) {
			t.Errorf("%s: killed %d, said %q, %v", name, killed, said.text, err)
		}
	}
}
