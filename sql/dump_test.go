package sql_test

import (
	osexec "os/exec"
	"testing"
)

// Managed servers are moved with pg_dump: what is installed must survive that, and
// be the owner's afterwards.
func TestADumpRestoresTheSchemaAndItsRequests(t *testing.T) {
	conn := installed(t)
	exec(t, conn, "SELECT pgexthost.launch('a', 'b', dedup_key => 'k'); INSERT INTO pgexthost.worker (name, library, function) VALUES ('w', 'a', 'b')")
	restored := newDatabase(t, "owner")
	pgDump, pgSQL := server.Binaries().Program("pg_dump"), server.Binaries().Program("psql")
	if pgDump == "" || pgSQL == "" {
		t.Skip("this installation has no pg_dump")
	}
	dump := osexec.Command(pgDump, server.ConnInfo()+" user=owner dbname="+conn.Database())
	text, err := dump.Output()
	check(t, err)
	psql := osexec.Command(pgSQL, "-X", "-v", "ON_ERROR_STOP=1", "-d", server.ConnInfo()+" user=owner dbname="+restored.Database())
	stdin, err := psql.StdinPipe()
	check(t, err)
	go func() { _, _ = stdin.Write(text); _ = stdin.Close() }()
	if out, err := psql.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
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
