package sql_test

import "testing"

// Managed servers are moved with pg_dump: what is installed must survive that, and
// be the owner's afterwards.
func TestADumpRestoresTheSchemaAndItsRequests(t *testing.T) {
	conn := installed(t)
	exec(t, conn, "SELECT pgexthost.launch('a', 'b', dedup_key => 'k'); INSERT INTO pgexthost.worker (name, library, function) VALUES ('w', 'a', 'b')")
	restored := newDatabase(t, "owner")
	dump, _ := server.Program(t, "", "pg_dump", server.Conninfo(t, conn.Database(), "owner"))
	server.Program(t, dump, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", server.Conninfo(t, restored.Database(), "owner"))
	if got := query[int64](t, restored, "SELECT pgexthost.launch('a', 'b', dedup_key => 'k')"); got != 1 {
		t.Errorf("the key has request %d", got)
	}
	exec(t, another(t, restored, "alice"), "SELECT pgexthost.launch('c', 'd')")
	refuses(t, another(t, restored, "stranger"), "SELECT pgexthost.launch('c', 'd')", "42501")
	// The conflict has cost a number.
	if got := query[string](t, restored, "SELECT string_agg(id || library || state, ',' ORDER BY id) FROM pgexthost.requests"); got != "1apending,3cpending" {
		t.Errorf("requests: %s", got)
	}
	exec(t, restored, "UPDATE pgexthost.worker SET main_arg = 1")
	if got := query[int64](t, restored, "SELECT revision FROM pgexthost.worker"); got != 2 {
		t.Errorf("revision %d", got)
	}
}
