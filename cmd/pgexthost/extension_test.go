package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

// extensionServer starts a private server.
func extensionServer(t *testing.T) *localpg.Server {
	t.Helper()
	server, err := localpg.Start(t.Context(), localpg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = server.Stop(ctx)
	})
	return server
}

func TestExtensionInstallsListsUpgradesAndDrops(t *testing.T) {
	server := extensionServer(t)
	dir := configured(t, "", "server_conninfo = '"+server.ConnInfo()+"'")
	extension := func(args ...string) result {
		return pgexthost(t, append([]string{"extension"}, append(args, "-D", dir, "-d", "template1")...)...)
	}
	extension("install", "worker_spi").want(t, 1, "", "pgexthost: error: required extension \"pgexthost\" is not installed\npgexthost: hint: ")
	extension("install", "pgexthost").want(t, 0, "installed extension \"pgexthost\", version 1.0, in database \"template1\"\n", "")
	extension("install", "pgexthost").want(t, 1, "", "pgexthost: error: extension \"pgexthost\" already exists\n")
	extension("install", "pgexthost", "--if-not-exists").want(t, 0, "", "pgexthost: notice: extension \"pgexthost\" already exists, skipping\n")
	extension("install", "worker_spi", "--schema", "nope", "--if-not-exists").want(t, 1, "", "pgexthost: error: schema \"nope\" does not exist\n")
	extension("install", "worker_spi", "--schema", "nope").want(t, 1, "", "pgexthost: error: schema \"nope\" does not exist\n")
	extension("install", "worker_spi").want(t, 0, "installed extension \"worker_spi\"", "")
	extension("upgrade", "pgexthost").want(t, 0, "extension \"pgexthost\" is up to date: version 1.0\n", "")
	extension("list").want(t, 0, "NAME        AVAILABLE  INSTALLED  SCHEMA     LOCATION  COMMENT\n"+
		"pgexthost   1.0        1.0        pgexthost  $system   background workers launched, seen and stopped with SQL\n"+
		"worker_spi  1.0        1.0        public     $system   the SQL functions of the example worker_spi\n", "")
	extension("drop", "pgexthost").want(t, 1, "", "pgexthost: error: cannot drop extension \"pgexthost\" because other extensions depend on it\n")
	extension("drop", "worker_spi").want(t, 0, "dropped extension \"worker_spi\" from database \"template1\"\n", "")
	extension("drop", "pgexthost").want(t, 0, "dropped extension \"pgexthost\"", "")
	if r := extension("list"); !strings.Contains(r.stdout, "pgexthost   1.0        -          -       $system ") {
		t.Errorf("got %s", r.stdout)
	}
	pgexthost(t, "extension", "list", "-D", dir, "-d", "nope").want(t, 1, "", "database \"nope\" does not exist")
}

func TestExtensionFindsThePluginsScriptsWhereTheConfigurationSays(t *testing.T) {
	server := extensionServer(t)
	scripts := filepath.Join(shortTempDir(t), "plugin", "extension")
	if err := os.MkdirAll(scripts, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"thing.control": "comment = 'a thing'\ndefault_version = '1.0'\n", "thing--1.0.sql": "CREATE TABLE thing ();\n\nSELECT broken;\n",
		"thing--1.0--1.1.sql": "ALTER TABLE thing ADD a int;\n", "thing--drop.sql": "DROP TABLE thing;\n",
	} {
		if err := os.WriteFile(filepath.Join(scripts, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(name, old, by string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(scripts, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(scripts, name), []byte(strings.Replace(string(text), old, by, 1)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := configured(t, "", "server_conninfo = '"+server.ConnInfo()+"'")
	extension := func(args ...string) result {
		return pgexthost(t, append([]string{"extension"}, append(args, "-D", dir, "-d", "postgres")...)...)
	}
	extension("install", "pgexthost").want(t, 0, "installed", "")
	extension("install", "thing").want(t, 1, "", "pgexthost: error: extension \"thing\" is not available\npgexthost: detail: There is neither \"thing.control\" nor \"thing--VERSION.sql\" in pgexthost itself, ")
	extension("list", "-c", "extension_control_path="+filepath.Dir(scripts)).want(t, 0, "thing      1.0        -          -          "+scripts+"  a thing\n", "")
	appendConfig(t, dir, "extension_control_path = '"+filepath.Dir(scripts)+":$system'")
	extension("install", "thing").want(t, 1, "", "pgexthost: error: column \"broken\" does not exist\npgexthost: context: extension script file \""+scripts+"/thing--1.0.sql\", near line 3\n")
	replace("thing--1.0.sql", "SELECT broken;", "")
	extension("install", "thing").want(t, 0, "installed extension \"thing\", version 1.0, in database \"postgres\"\n", "")
	replace("thing.control", "1.0", "1.1")
	extension("upgrade", "thing").want(t, 0, "upgraded extension \"thing\" from version 1.0 to 1.1\n", "")
	replace("thing.control", "1.1", "1.0")
	extension("upgrade", "thing").want(t, 1, "", "pgexthost: error: extension \"thing\" has no update path from version \"1.1\" to version \"1.0\"\n")
	extension("drop", "thing").want(t, 0, "dropped extension \"thing\"", "")
	extension("install", "../thing").want(t, 1, "", "pgexthost: error: invalid extension name: \"../thing\"\n")
	extension("list", "-c", "extension_control_path=plugin").want(t, 1, "", "pgexthost: error: component in parameter \"extension_control_path\" is not an absolute path\n")
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
