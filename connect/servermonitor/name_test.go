package servermonitor

import (
	"testing"

	"github.com/pgexthost/pgexthost/host/postmaster"
)

// The core pokes the process by its name, and may not import this package.
func TestTheCoreKnowsTheMonitorByItsName(t *testing.T) {
	if Name != postmaster.ServerMonitor {
		t.Errorf("this is the %q, the core pokes the %q", Name, postmaster.ServerMonitor)
	}
}
