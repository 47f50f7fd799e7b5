package metrics

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/shmem"
)

// patience is how long the postmaster may take for a sign of life. It is busy
// for milliseconds at most.
const patience = 3 * time.Second

// checked is what a check has found out, as a line of the answer.
type checked struct {
	name     string
	problem  string // empty: there is none
	excluded bool   // the problem is told, and does not count
}

func (c checked) String() string {
	switch {
	case c.problem == "" && c.excluded:
		return fmt.Sprintf("[+]%s excluded: ok\n", c.name)
	case c.problem == "":
		return fmt.Sprintf("[+]%s ok\n", c.name)
	case c.excluded:
		return fmt.Sprintf("[-]%s excluded: %s\n", c.name, c.problem)
	}
	return fmt.Sprintf("[-]%s failed: %s\n", c.name, c.problem)
}

// health answers in the words of Kubernetes's own servers: "ok", or with
// ?verbose, and if something is wrong, a line for each check.
func health(name string, checks ...func(ctx context.Context) checked) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		out.Header().Set("Cache-Control", "no-store")
		var lines strings.Builder
		failed := false
		for _, check := range checks {
			c := check(r.Context())
			failed = failed || c.problem != "" && !c.excluded
			lines.WriteString(c.String())
		}
		switch _, verbose := r.URL.Query()["verbose"]; {
		case failed:
			out.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(out, "%s%s check failed\n", &lines, name)
		case verbose:
			_, _ = fmt.Fprintf(out, "%s%s check passed\n", &lines, name)
		default:
			_, _ = fmt.Fprint(out, "ok")
		}
	})
}

// postmasterAnswers checks that the event loop goes round: that of the process
// that starts and watches the workers, not of the one that answers here.
func (w *web) postmasterAnswers(ctx context.Context) checked {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := w.host.AskPostmaster(ctx); err != nil {
		return checked{name: "postmaster", problem: fmt.Sprintf("it has not answered within %d s", int(patience.Seconds()))}
	}
	return checked{name: "postmaster"}
}

// isRunning checks that the host is initialised, and neither stops nor recovers
// from a crash.
func (w *web) isRunning(context.Context) checked {
	c := checked{name: "host"}
	if stats, ok := w.host.HostStatistics(); !ok {
		c.problem = "what it says of itself could not be read"
	} else if stats.Phase != shmem.HostRunning {
		c.problem = "it is " + stats.Phase.String()
	}
	return c
}

// serverIsReachable tells of the PostgreSQL server. It does not count: the host
// does its work without one, which is to wait for it, and nothing would be won
// if it were restarted. Where it is and who logs in there is not for everybody.
func (w *web) serverIsReachable(a audience) func(context.Context) checked {
	return func(context.Context) checked {
		c := checked{name: "server", excluded: true}
		state := w.host.ServerState()
		if state == shmem.ServerReadWrite || state == shmem.ServerStandby {
			return c
		}
		c.problem = "it is " + state.String()
		if news := strings.Join(strings.Fields(w.host.ServerNews()), " "); news != "" && a == ourselves {
			c.problem += ": " + news
		}
		return c
	}
}
