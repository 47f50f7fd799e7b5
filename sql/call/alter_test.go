package call_test

import (
	"slices"
	"testing"
)

func TestOnlySuperusersAlterTheHostsSettings(t *testing.T) {
	b := newBed(t)
	for call, message := range map[string]string{
		"SELECT pgexthost.alter_system('crash_scope', 'worker')": `permission denied to set parameter "crash_scope"`,
		"SELECT pgexthost.alter_system(NULL, NULL)":              "permission denied to perform ALTER SYSTEM RESET ALL",
	} {
		if e := b.connect("alice").refuses(call, "42501"); e.Message != message {
			t.Errorf("%s: got %q", call, e.Message)
		}
	}
	c := b.connect("postgres")
	c.exec("SELECT pgexthost.alter_system('crash_scope', E'it''s\\\\ \u00fc'); SELECT pgexthost.alter_system('crash_scope', NULL); SELECT pgexthost.alter_system(NULL, NULL)")
	if want := []string{"crash_scope=it's\\ ü", "crash_scope=RESET", "=RESET"}; !slices.Equal(b.host.altered, want) {
		t.Errorf("got %q", b.host.altered)
	}
	if e := c.refuses("SELECT pgexthost.alter_system('bad', 'x')", "22023"); e.Message != "invalid value" || e.Detail != "Some detail." || e.Hint != "" {
		t.Errorf("got %+v", e)
	}
	b.plain(b.database, "postgres").refuses("SELECT pgexthost.alter_system('crash_scope', 'x')", "53000")
}
