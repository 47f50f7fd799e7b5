package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The examples as their READMEs have people run them: executables in $libdir,
// under the program that they have installed.
func TestTheExamplesRunAsExecutablesUnderAHost(t *testing.T) {
	skipIfShort(t)
	i := newInstallation(t)
	lib := filepath.Join(i.prefix, "lib", "pgexthost")
	for _, pkg := range []string{"queue/cmd/queue", "retention", "launcher/cmd/analyzer", "heartbeat"} {
		build := exec.Command("go", "build", "-trimpath", "-o", lib+"/", "../../examples/"+pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	i.psqlIn("postgres", "CREATE DATABASE app")
	appendConfig(t, i.dir, "shared_preload_libraries = 'queue, retention, analyzer'", "max_worker_processes = 20",
		"queue.database = 'app'", "queue.function_schemas = 'jobs'",
		"retention.database = 'app'", "retention.naptime = 1s",
		"analyzer.naptime = 1s", "analyzer.include = 'app'")
	i.start()

	eventually(t, "the queue's schema", func() bool { return i.psql("SELECT to_regclass('queue.status') IS NOT NULL") == "t" })
	i.psql("CREATE SCHEMA jobs")
	i.psql("CREATE TABLE done (what text)")
	i.psql("CREATE FUNCTION jobs.note(args jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.done VALUES (args->>'what') $$")
	i.psql(`SELECT queue.enqueue('jobs.note', '{"what": "a job"}')`)
	eventually(t, "the job", func() bool { return i.psql("SELECT string_agg(what, ',') FROM done") == "a job" })

	eventually(t, "the policies", func() bool { return i.psql("SELECT to_regclass('retention.policy') IS NOT NULL") == "t" })
	i.psql("CREATE TABLE events (at timestamptz NOT NULL) PARTITION BY RANGE (at)")
	i.psql("INSERT INTO retention.policy (parent, every, premake, keep, on_expiry) VALUES ('public.events', '1 day', 7, '90 days', 'drop')")
	eventually(t, "the partitions", func() bool {
		return i.psql("SELECT count(*) >= 8 FROM pg_inherits WHERE inhparent = 'events'::regclass") == "t"
	})
	i.psql("INSERT INTO events VALUES (now()), (now() + interval '7 days')")

	eventually(t, "a worker of the launcher's", func() bool { return strings.Contains(i.run(0, "ps").stdout, "analyzer of app") })
	for name, program := range map[string]string{"queue worker 1": "queue", "analyzer of app": "analyzer"} {
		if got := i.programOf(name); got != filepath.Join(lib, program) {
			t.Errorf("%s runs %s", name, got)
		}
	}
	i.run(0, "stop")
	// A table that another of the workers is just changing is analyzed next time.
	log := strings.ReplaceAll(i.log(), `WARNING:  skipping analyze of "events" --- lock not available`, "")
	for _, bad := range []string{"ERROR:", "WARNING:", "PANIC:", "panic:"} {
		if strings.Contains(log, bad) {
			t.Errorf("the log has %s\n%s", bad, log)
		}
	}
}

// psqlIn is psql in another database.
func (i *installation) psqlIn(database, command string) {
	i.t.Helper()
	cmd := exec.Command(i.server.Binaries().Program("psql"), "-Xq", "-d", i.server.ConnInfo()+" dbname="+database, "-c", command)
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// programOf returns what a worker runs from.
func (i *installation) programOf(worker string) string {
	i.t.Helper()
	for line := range strings.Lines(i.run(0, "ps").stdout) {
		for _, word := range strings.Fields(line) {
			var pid int
			if _, err := fmt.Sscan(word, &pid); err != nil || pid < 2 || !strings.Contains(line, worker) {
				continue
			}
			if title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(title), worker) {
				program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
				return program
			}
		}
	}
	return ""
}
