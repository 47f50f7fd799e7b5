//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// withLauncher is the environment variable that gives a host the request launcher,
// and the library that its requests are for. Its value is the file in which the
// library's functions count their starts, for any number of hosts.
const withLauncher = "PGEXTHOST_TEST_REQUESTS"

// effectsLibrary has functions that leave a line with their main argument in a
// file, as the first thing they do.
func effectsLibrary() plugins.Library {
	return plugins.Library{
		Name: "effects",
		Functions: plugins.Functions{
			"once": func(_ context.Context, w *plugins.Worker) error { return leaveEffect(w) },
			"stay": func(ctx context.Context, w *plugins.Worker) error {
				if err := leaveEffect(w); err != nil {
					return err
				}
				_, err := w.WaitLatch(ctx, plugins.PostmasterDeath|plugins.ExitOnPostmasterDeath, 0, plugins.WaitEvent{})
				return err
			},
			"connected": func(ctx context.Context, w *plugins.Worker) error {
				if err := leaveEffect(w); err != nil {
					return err
				}
				if _, err := connect.InitializeConnection(ctx, w, plugins.ExtraText(w.Entry()), "", 0); err != nil {
					return err
				}
				_, err := w.WaitLatch(ctx, plugins.PostmasterDeath|plugins.ExitOnPostmasterDeath, 0, plugins.WaitEvent{})
				return err
			},
			"fail": func(_ context.Context, w *plugins.Worker) error {
				return errors.Join(leaveEffect(w), elog.New(elog.Error, "22012", "division by zero"))
			},
		},
	}
}

func leaveEffect(w *plugins.Worker) error {
	file, err := os.OpenFile(os.Getenv(withLauncher), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintf(file, "%d\n", w.Entry().MainArg)
	return err
}

// requests is a database with schema pgexthost and what its workers have done.
type requests struct {
	t        *testing.T
	server   testServer
	database string
	user     string
	effects  string // the file
}

// newRequests makes a database on a server, whose owner is no superuser, and
// installs the schema there as that user.
func newRequests(t *testing.T, server testServer) *requests {
	t.Helper()
	dir := shortTempDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	r := &requests{t: t, server: server, database: fmt.Sprintf("requests_%d", time.Now().UnixNano()), user: "requester", effects: filepath.Join(dir, "effects")}
	execSQL(t, server.ConnInfo(), `DO $$ BEGIN CREATE ROLE requester LOGIN CREATEROLE; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
	shareLogin(t, server, "requester")
	execSQL(t, server.ConnInfo(), "CREATE DATABASE "+r.database+" OWNER requester")
	r.install("pgexthost")
	return r
}

func (r *requests) install(name string) {
	r.t.Helper()
	installExtension(r.t, r.conninfo(), name)
}

func (r *requests) conninfo() string {
	return r.server.ConnInfo() + " dbname=" + r.database + " user=" + r.user
}

// host starts a host that serves the database.
func (r *requests) host(options ...hostOption) *testHost {
	r.t.Helper()
	return startHost(r.t, append([]hostOption{
		withServer(r.server.ConnInfo() + " dbname=postgres user=" + r.user),
		withSetting("launcher_databases=" + r.database),
		withSetting("max_worker_processes=32"),
		withEnvironment(withLauncher + "=" + r.effects),
	}, options...)...)
}

func (r *requests) exec(sql string) {
	r.t.Helper()
	execSQL(r.t, r.conninfo(), sql)
}

func (r *requests) text(sql string) string {
	r.t.Helper()
	return query[string](r.t, r.conninfo(), "SELECT coalesce(("+sql+")::text, '')")
}

// await waits until a query gives that.
func (r *requests) await(sql, want string) {
	r.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	got := ""
	for got = r.text(sql); got != want && time.Now().Before(deadline); got = r.text(sql) {
		<-tick.C
	}
	if got != want {
		r.t.Fatalf("%s: got %q, want %q\n%s", sql, got, want, r.text("SELECT string_agg(q::text, E'\\n') FROM pgexthost.requests q"))
	}
}

// starts returns how often main was started, by main argument.
func (r *requests) starts() map[int]int {
	r.t.Helper()
	text, err := os.ReadFile(r.effects)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	n := make(map[int]int)
	for _, line := range strings.Fields(string(text)) {
		arg, err := strconv.Atoi(line)
		if err != nil {
			r.t.Fatal(err)
		}
		n[arg]++
	}
	return n
}

// launcherPid returns the pid of a host's request launcher.
func (h *testHost) launcherPid() int {
	h.t.Helper()
	pid := 0
	h.eventually("the request launcher", func() bool {
		for _, child := range h.children() {
			if strings.HasSuffix(processTitle(child), ": request launcher") {
				pid = child
			}
		}
		return pid != 0
	})
	return pid
}

// kill sends SIGKILL to a child of the host.
func (h *testHost) kill(pid int) {
	h.t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		h.t.Fatal(err)
	}
}
