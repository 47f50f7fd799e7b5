package host

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// gatewayName is the auxiliary process at which clients of PostgreSQL connect.
const gatewayName = "gateway"

// noteAddresses writes to the lock file where the gateway is going to listen, if
// it is part of this program.
func (h *host) noteAddresses() {
	if !slices.Contains(plugins.Auxiliaries(), gatewayName) {
		return
	}
	socketDir := firstOf(h.store.String(settings.UnixSocketDirectories))
	if socketDir != "" && !filepath.IsAbs(socketDir) {
		socketDir = filepath.Join(h.dir.path, socketDir)
	}
	address := firstOf(h.store.String(settings.ListenAddresses))
	if socketDir == "" && address == "" {
		return
	}
	if err := h.dir.lockFile.SetAddresses(h.store.Int(settings.Port), socketDir, address); err != nil {
		h.log.Emit(elog.AsErrorData(err, elog.Log))
	}
}

// firstOf returns the first name of a list.
func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.Trim(strings.TrimSpace(first), `"`)
}
