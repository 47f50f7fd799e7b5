package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

func TestMain(m *testing.M) {
	if os.Getenv("JANITOR_AS_PROGRAM") != "" || plugins.IsChild() {
		main()
	}
	os.Exit(pluginstest.Main(m))
}

// The Go half of the example in docs/C-TO-GO.md is janitor.go.
func TestTheGuideShowsThisWorker(t *testing.T) {
	program, err := os.ReadFile("janitor.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := bytes.Cut(program, []byte("package main\n"))
	guide, err := os.ReadFile("../../docs/C-TO-GO.md")
	if err != nil {
		t.Fatal(err)
	}
	// In the guide a tab is four spaces: two columns have to fit a page.
	code = bytes.ReplaceAll(bytes.TrimSpace(code), []byte("\t"), []byte("    "))
	if !bytes.Contains(guide, append(append([]byte("```go\n"), code...), "\n```"...)) {
		t.Error("docs/C-TO-GO.md shows another worker")
	}
}

// sessions makes the janitor's table, with two sessions that have expired and one
// that has not, until the end of the test. It is in database postgres, as the guide
// has it.
func sessions(t *testing.T) (*pluginstest.Postgres, *pgx.Conn) {
	t.Helper()
	db := pluginstest.Server(t)
	conn := db.Connect(t)
	if _, err := conn.Exec(t.Context(), `
		CREATE TABLE session (expires timestamptz);
		INSERT INTO session VALUES (now() - interval '1 hour'), (now() - interval '1 s'), (now() + interval '1 hour')`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Exec(context.Background(), "DROP TABLE session") })
	return db, conn
}

func TestTheJanitorRemovesWhatHasExpiredAndNothingElse(t *testing.T) {
	db, conn := sessions(t)
	w := pluginstest.Start(t, library(), "janitor_main", pluginstest.Options{Server: db})
	for range 2 { // the second time there is nothing to remove
		w.Advance(t)
		var left int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM session").Scan(&left); err != nil || left != 1 {
			t.Errorf("%d sessions are left (%v), want the one that has not expired", left, err)
		}
	}
	if log := w.Log(); len(log) != 1 || log[0].Message != "janitor: removed 2 sessions" {
		t.Errorf("it has logged %v", log)
	}
}

func TestTheProgramIsAHostOfTheJanitor(t *testing.T) {
	db, _ := sessions(t)
	h := pluginstest.StartHost(t, pluginstest.HostOptions{Server: db, Command: func(dir string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], dir, "janitor.naptime=1s")
		cmd.Env = append(os.Environ(), "JANITOR_AS_PROGRAM=1")
		return cmd
	}})
	h.AwaitLog(t, "LOG:  janitor: removed 2 sessions")
	h.Stop(t)
	h.AwaitLog(t, "FATAL:  terminating background worker \"janitor\" due to administrator command")
}
