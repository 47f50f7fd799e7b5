package elog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// oraclePrefix has every escape that PostgreSQL 15 knows, with and without
// padding, and some that it does not. What a line begins with, up to the bar,
// finds it again.
const oraclePrefix = `%p %l|%m|%n|%s|%c|%e|%x|%Q|%a|%b|%u|%d|%r|%h|%i|%v|%P|%%|` +
	`%9p|%-9p|%4l|%-4l|%40m|%-40m|%30s|%-30s|%24c|%-24c|%9e|%-9e|%5x|%-5x|%5Q|%-5Q|%3a|%-3a|%40b|%-40b|%3u|%-3u|%3d|%-3d|` +
	`%3r|%-3r|%3h|%-3h|%3i|%-3i|%15v|%-15v|%3P|%-3P|%5%|%--3p|% p|%5-3p|%z|%5z|%|%q%p`

// oracleRecord is a line of the jsonlog of a process of PostgreSQL.
type oracleRecord struct {
	line      string
	Timestamp string  `json:"timestamp"`
	Pid       int     `json:"pid"`
	Start     string  `json:"session_start"`
	Ps        *string `json:"ps"`
	Vxid      string  `json:"vxid"`
	Severity  string  `json:"error_severity"`
	Code      string  `json:"state_code"`
	Message   string  `json:"message"`
	Detail    string  `json:"detail"`
	Hint      string  `json:"hint"`
	Context   string  `json:"context"`
	Type      string  `json:"backend_type"`
}

// startServer starts a server for one test.
func startServer(t *testing.T, settings ...string) *localpg.Server {
	t.Helper()
	server, err := localpg.Start(t.Context(), localpg.Options{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

// oracleLogs runs a PostgreSQL that talks a lot, in both forms, and returns
// what its background processes said: per process the records, and all text.
func oracleLogs(t *testing.T) (processes map[int][]oracleRecord, text string) {
	t.Helper()
	const firstWithJSON = 15
	server := startServer(t, "logging_collector=on", "log_destination=jsonlog,stderr", "log_min_messages=debug1",
		"log_timezone=UTC", "log_line_prefix="+oraclePrefix, "log_checkpoints=on", "log_directory=log", "log_filename=all",
		"archive_mode=on", "archive_command=false") // which is complained about with a DETAIL
	if server.Binaries().Major < firstWithJSON {
		t.Skip("this PostgreSQL has no jsonlog")
	}
	logs := filepath.Join(server.DataDir(), "log")
	if err := server.StopServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	text = readUntil(t, filepath.Join(logs, "all"), "logger shutting down\n") // the collector outlives the server
	records := readUntil(t, filepath.Join(logs, "all.json"), "logger shutting down")
	processes = make(map[int][]oracleRecord)
	for line := range strings.Lines(records) {
		r := oracleRecord{line: line}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if r.Ps == nil && r.Type != "postmaster" { // the postmaster said more before there was a collector
			processes[r.Pid] = append(processes[r.Pid], r)
		}
	}
	return processes, text
}

// readUntil returns what a file holds once it holds a certain text.
func readUntil(t *testing.T, path, text string) string {
	t.Helper()
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for deadline := time.After(time.Minute); ; {
		content, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(content), text) {
			return string(content)
		}
		select {
		case <-ticks.C:
		case <-deadline:
			t.Fatalf("%s never held %q: %v\n%s", path, text, err, content)
		}
	}
}

func TestLogsAreThoseOfARealPostgres(t *testing.T) {
	processes, text := oracleLogs(t)
	compared, details := make(map[string]int), 0
	for pid, records := range processes {
		var buf bytes.Buffer
		now := at(t, records[0].Start)
		l := elog.NewLoggerOf(&buf, pid, func() time.Time { return now })
		l.Configure(oraclePrefix, elog.Debug5, both)
		l.Identify("", records[0].Type)
		for _, r := range records {
			now = at(t, r.Timestamp)
			level, ok := elog.ParseLevel(r.Severity) // DEBUG is that of DEBUG1 to 5
			if !ok {
				t.Fatalf("unknown severity in %s", r.line)
			}
			if r.Code == "" {
				r.Code = string(elog.SuccessfulCompletion)
			}
			buf.Reset()
			l.Emit(&elog.ErrorData{
				Level: level, Code: elog.SQLState(r.Code), Message: r.Message, Detail: r.Detail, Hint: r.Hint, Context: r.Context,
			})
			record, lines, _ := strings.Cut(buf.String(), "\n")
			if want := strings.Replace(r.line, `"vxid":"`+r.Vxid+`",`, "", 1); record+"\n" != want {
				t.Errorf("jsonlog:\n  we %s\nthey %s", record, want)
			}
			if !strings.Contains(withoutVxid(text, r.Vxid), lines) {
				t.Errorf("stderr: we\n%sthey something else:\n%s", lines, linesOf(text, lines))
			}
			compared[r.Type]++
			if r.Detail != "" {
				details++
			}
		}
	}
	for _, process := range []string{"checkpointer", "autovacuum launcher", "logical replication launcher"} {
		if compared[process] == 0 {
			t.Errorf("the %s said nothing; compared: %v", process, compared)
		}
	}
	if details == 0 {
		t.Error("no record had a DETAIL")
	}
	t.Log("compared:", compared)
}

func TestLogDestinationIsReadAsByARealPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
	server := startServer(t)
	psql := server.Binaries().Program("psql")
	if psql == "" {
		t.Skip("this PostgreSQL came without psql")
	}
	for _, tt := range destinations {
		var stderr bytes.Buffer
		cmd := exec.Command(psql, "-Xq", "-d", server.ConnInfo(), "-c",
			"ALTER SYSTEM SET log_destination = '"+strings.ReplaceAll(tt.list, "'", "''")+"'")
		cmd.Stderr = &stderr
		runErr := cmd.Run()
		_, err := elog.ParseDestinations(tt.list)
		if err == nil {
			if runErr != nil {
				t.Errorf("%q: they refuse it: %v, %s", tt.list, runErr, &stderr)
			}
			continue
		}
		l, buf := aLogger("", elog.DestinationStderr)
		l.Emit(elog.AsErrorData(err, elog.Error))
		if ours := strings.ReplaceAll(buf.String(), "\n\t", "\n"); stderr.String() != ours {
			t.Errorf("%q:\n  we %s\nthey %s", tt.list, ours, &stderr)
		}
	}
}

// withoutVxid takes out what the fields %v, %15v and %-15v hold.
func withoutVxid(text, vxid string) string {
	if vxid == "" {
		return text
	}
	text = strings.ReplaceAll(text, "|"+vxid+"|", "||")
	blank := fmt.Sprintf("|%15s|%-15s|", "", "")
	return strings.ReplaceAll(text, fmt.Sprintf("|%15s|%-15s|", vxid, vxid), blank)
}

// linesOf returns the lines that begin as the first of ours does.
func linesOf(text, ours string) string {
	key, _, _ := strings.Cut(ours, "|")
	var found strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, key+"|") {
			found.WriteString(line)
		}
	}
	return found.String()
}

func at(t *testing.T, timestamp string) time.Time {
	t.Helper()
	parsed, err := time.ParseInLocation("2006-01-02 15:04:05.999 MST", timestamp, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
