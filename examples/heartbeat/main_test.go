package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/plugins"
)

func TestMain(m *testing.M) {
	if os.Getenv("HEARTBEAT_AS_PROGRAM") != "" || plugins.IsChild() {
		main()
	}
	os.Exit(m.Run())
}

// The program in README.md is this one.
func TestReadmeShowsThisProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := bytes.Cut(program, []byte("package main\n"))
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, append([]byte("```go\npackage main\n"), code...)) {
		t.Error("README.md shows another program")
	}
}

func TestTheHeartBeats(t *testing.T) {
	server, err := localpg.Start(t.Context(), localpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	dir := filepath.Join(t.TempDir(), "host")
	if err := host.Init(dir, server.ConnInfo()); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), "HEARTBEAT_AS_PROGRAM=1")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = awaitBeat(t.Context(), server.ConnInfo())
	_ = cmd.Process.Signal(unix.SIGINT)
	if waitErr := cmd.Wait(); waitErr != nil || err != nil {
		t.Errorf("%v, %v; log:\n%s", err, waitErr, &log)
	}
}

func awaitBeat(ctx context.Context, conninfo string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, conninfo)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var beats int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM heartbeat").Scan(&beats); err == nil && beats > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
