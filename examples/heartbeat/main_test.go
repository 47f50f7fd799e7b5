package main

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

func TestMain(m *testing.M) { os.Exit(pluginstest.Main(m)) }

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

// A minute goes by in no time here.
func TestAHeartbeatAMinute(t *testing.T) {
	db := pluginstest.Server(t).NewDatabase(t)
	conn := db.Connect(t)
	w := pluginstest.Start(t, library(), "heartbeat_main", pluginstest.Options{Server: db})
	for minute := range 3 {
		w.AwaitWait(t)
		if beats := count(t, conn); beats != minute+1 {
			t.Errorf("minute %d: %d beats", minute, beats)
		}
		w.Advance(t)
	}
}

func TestAHostRunsTheWorkerOfTheProgram(t *testing.T) {
	db := pluginstest.Server(t).NewDatabase(t)
	conn := db.Connect(t)
	lib := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", lib+"/", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h := pluginstest.StartHost(t, pluginstest.HostOptions{Server: db, Settings: map[string]string{
		"dynamic_library_path": lib, "shared_preload_libraries": "heartbeat",
	}})
	pluginstest.Await(t, "a heartbeat", func() bool { return count(t, conn) > 0 })
	h.Stop(t)
}

// count returns the number of beats, which is 0 as long as there is no table.
func count(t *testing.T, conn *pgx.Conn) (beats int) {
	_ = conn.QueryRow(t.Context(), "SELECT count(*) FROM heartbeat").Scan(&beats)
	return beats
}
