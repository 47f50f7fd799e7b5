package guc_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// hostDefs are settings of a made-up host, one or more of each context.
func hostDefs() []guc.Definition {
	return []guc.Definition{
		{Name: "max_worker_processes", Type: guc.TypeInt, Context: guc.Postmaster, Min: 0, Max: 262143, Default: "8"},
		{Name: "worker_stop_timeout", Type: guc.TypeInt, Context: guc.Sighup, Unit: guc.UnitS, Min: 0, Max: 3600, Default: "0"},
		{Name: "restart_after_crash", Type: guc.TypeBool, Context: guc.Sighup, Default: "on"},
		{Name: "crash_scope", Type: guc.TypeEnum, Context: guc.Sighup, EnumOptions: []string{"cluster", "auto", "worker"}, Default: "auto"},
		{Name: "post_auth_delay", Type: guc.TypeInt, Context: guc.Backend, Unit: guc.UnitS, Min: 0, Max: 2147, Default: "0"},
		{Name: "cluster_name", Type: guc.TypeString, Context: guc.Postmaster},
		{Name: "server_version", Type: guc.TypeString, Context: guc.Internal, Default: "18.0"},
	}
}

func naptime() guc.Definition {
	return guc.Definition{Name: "worker_spi.naptime", Type: guc.TypeInt, Context: guc.Sighup, Min: 1, Max: 2147483647, Default: "10"}
}

// conf makes a Config of the text of a file called "h.conf".
func conf(text string) guc.Config { return guc.ParseBytes("h.conf", []byte(text)) }

// render shows a report as a log would, on one line.
func render(e *elog.ErrorData) string {
	parts := []string{e.Level.String() + " " + string(e.Code) + ": " + e.Message}
	for _, p := range []struct{ label, text string }{{"DETAIL", e.Detail}, {"HINT", e.Hint}, {"CONTEXT", e.Context}} {
		if p.text != "" {
			parts = append(parts, p.label+": "+p.text)
		}
	}
	return strings.Join(parts, " | ")
}

// wantReports compares reports with their expected renderings.
func wantReports(t *testing.T, got []*elog.ErrorData, want ...string) {
	t.Helper()
	var lines []string
	for _, e := range got {
		lines = append(lines, render(e))
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(lines, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantError is wantReports for a single error.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	var e *elog.ErrorData
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want %s", err, want)
	}
	wantReports(t, []*elog.ErrorData{e}, want)
}

// started returns a store of the made-up host that has started with a file.
func started(t *testing.T, text string, options ...string) *guc.Store {
	t.Helper()
	c := conf(text)
	for _, o := range options {
		it, err := guc.ParseOption(o)
		if err != nil {
			t.Fatal(err)
		}
		c.Items = append(c.Items, it)
	}
	s := guc.NewStore(hostDefs()...)
	wantReports(t, s.ApplyStartup(c))
	return s
}

// wantShow checks what SHOW says.
func wantShow(t *testing.T, s *guc.Store, name, want string) {
	t.Helper()
	if got, err := s.Show(name); err != nil || got != want {
		t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
	}
}

// writeFile puts a file below dir and returns its path.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// isProblem reports whether a report is more than information.
func isProblem(e *elog.ErrorData) bool { return e.Code != elog.SuccessfulCompletion }
