package main

import (
	"os"
	"strings"
	"testing"
)

func TestConfigCheckTellsAConninfoThatIsNone(t *testing.T) {
	for conninfo, says := range map[string]string{
		"postgres://u:hush@h:99999x/db": `invalid value for parameter "server_conninfo": invalid connection string`,
		"host=h hostaddr=1.2.3.4":       "hostaddr",
		"password=hush host":            `invalid value for parameter "server_conninfo": invalid connection string`,
	} {
		dir := configured(t, "", "server_conninfo = '"+conninfo+"'")
		r := pgexthost(t, "config", "check", "-D", dir)
		r.want(t, 1, "", says)
		r.want(t, 1, "", "pgexthost: context: line ")
		if strings.Contains(r.stderr, "hush") {
			t.Errorf("the password is shown: %s", r.stderr)
		}
	}
}

func TestConfigCheckTellsThatTheGatewayHasNoCertificate(t *testing.T) {
	dir := configured(t, "", "ssl = on", "listen_addresses = localhost")
	r := pgexthost(t, "config", "check", "-D", dir)
	r.want(t, 1, "", `pgexthost: error: could not access private key file "`+dir+`/server.key": No such file or directory`)
	r.want(t, 1, "", "pgexthost: context: line ")
	pgexthost(t, "config", "check", "-D", dir, "-c", "ssl=off").want(t, 0, "valid", "")
	pgexthost(t, "config", "check", "-D", dir, "-c", "listen_addresses=").want(t, 0, "valid", "") // nobody needs one
}

// What would limit nobody is a problem, too.
func TestConfigCheckTellsWrongLimits(t *testing.T) {
	for limits, says := range map[string]string{
		"worker_spi: files=2":               `Library "worker_spi": 2 is outside the valid range for parameter "files" (16 .. 1048576).`,
		"worker_spy: files=20; *: files=20": `library "worker_spy" of "library_limits" was not found`,
		"/no/where: files=20":               `library "/no/where" of "library_limits" was not found`,
		"worker_spi: directory=/nowhere":    `library "worker_spi" was not preloaded: could not set "directory" of library "worker_spi" to "/nowhere": No such file or directory`,
	} {
		dir := configured(t, "", "library_limits = '"+limits+"'", "shared_preload_libraries = worker_spi")
		pgexthost(t, "config", "check", "-D", dir).want(t, 1, "", says)
	}
	dir := configured(t, "", "library_limits = 'worker_spi: files=100; *: nice=1'", "shared_preload_libraries = worker_spi")
	pgexthost(t, "config", "check", "-D", dir).want(t, 0, "valid", "")
	dir = configured(t, "", "library_limits = 'worker_spi: files=100'", "dynamic_library_path = '/nowhere'") // $libdir/worker_spi is there all the same
	pgexthost(t, "config", "check", "-D", dir).want(t, 0, "valid", "")
}

func TestConfigShowNoticesThatNobodyGotItsAnswer(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	dir := configured(t, "")
	for _, args := range [][]string{{}, {"cluster_name"}, {"--json"}} {
		cmd := program(append([]string{"config", "show", "-D", dir}, args...)...)
		cmd.Stdout = full
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%v: %v, %s", args, err, &stderr)
		}
	}
}
