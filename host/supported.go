package host

import (
	"runtime"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Supported returns nil where hosts run, which is on Linux, and elsewhere the
// *elog.ErrorData, at FATAL with SQLSTATE 0A000, that [Run], [Inspect] and
// [CheckLibrary] begin and end with.
func Supported() error {
	if runsHere {
		return nil
	}
	return elog.New(elog.Fatal, elog.FeatureNotSupported, "extension hosts run on Linux only").
		WithDetail("This program was built for %s/%s.", runtime.GOOS, runtime.GOARCH).
		WithHint("Run the host in a container or a virtual machine with Linux. Here, a library that is started with --standalone runs one of its workers, and tests run workers by package pluginstest.")
}
