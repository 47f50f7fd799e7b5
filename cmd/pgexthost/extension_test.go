package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

func TestExtensionInstallsListsUpgradesAndDrops(t *testing.T) {
	server, err := localpg.Start(t.Context(), localpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = server.Stop(ctx)
	})
	dir := configured(t, "", "server_conninfo = '"+server.ConnInfo()+"'")
	extension := func(args ...string) result {
		return pgexthost(t, append([]string{"extension"}, append(args, "-D", dir, "-d", "template1")...)...)
	}
	extension("install", "worker_spi").want(t, 1, "", "pgexthost: error: required extension \"pgexthost\" is not installed\npgexthost: hint: ")
	extension("install", "pgexthost").want(t, 0, "installed extension \"pgexthost\", version 1.0, in database \"template1\"\n", "")
	extension("install", "pgexthost").want(t, 1, "", "pgexthost: error: extension \"pgexthost\" already exists\n")
	extension("install", "worker_spi", "--schema", "nope").want(t, 1, "", "pgexthost: error: schema \"nope\" does not exist\n")
	extension("install", "worker_spi").want(t, 0, "installed extension \"worker_spi\"", "")
	extension("upgrade", "pgexthost").want(t, 0, "extension \"pgexthost\" is up to date: version 1.0\n", "")
	extension("list").want(t, 0, "NAME        AVAILABLE  INSTALLED  SCHEMA\npgexthost   1.0        1.0        pgexthost\nworker_spi  1.0        1.0        public\n", "")
	extension("drop", "pgexthost").want(t, 1, "", "pgexthost: error: cannot drop extension \"pgexthost\" because other extensions depend on it\n")
	extension("drop", "worker_spi").want(t, 0, "dropped extension \"worker_spi\" from database \"template1\"\n", "")
	extension("drop", "pgexthost").want(t, 0, "dropped extension \"pgexthost\"", "")
	if r := extension("list"); !strings.Contains(r.stdout, "pgexthost   1.0        -          -\n") {
		t.Errorf("got %s", r.stdout)
	}
	pgexthost(t, "extension", "list", "-D", dir, "-d", "nope").want(t, 1, "", "database \"nope\" does not exist")
}

func TestExtensionSaysWhatItNeeds(t *testing.T) {
	dir := configured(t, "")
	pgexthost(t, "extension").want(t, 1, "", "pgexthost: error: no subcommand: install, list, upgrade or drop?")
	pgexthost(t, "extension", "fly").want(t, 1, "", "unrecognized subcommand \"fly\" of extension")
	pgexthost(t, "extension", "install", "-D", dir, "-d", "x").want(t, 1, "", "which extension?")
	pgexthost(t, "extension", "install", "pgexthost", "-D", dir).want(t, 1, "", "pgexthost: error: no database specified\npgexthost: hint: Say -d DATABASE.")
	pgexthost(t, "extension", "install", "pgexthost", "-d", "x").want(t, 1, "", "pgexthost: error: no data directory specified")
	pgexthost(t, "extension", "list", "-D", configured(t, "", "port ="), "-d", "x").want(t, 1, "", "pgexthost: error: ")
	pgexthost(t, "extension", "list", "-D", dir, "-d", "x", "-c", "server_conninfo=host=/nonexistent").want(t, 1, "", "could not connect to server")
}
