package host

import (
	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/plugins"
)

// Every host has a control server. The children are this program, too, and get
// to know of it here.
func init() { plugins.RegisterAuxiliary(control.ServerName, control.Main) }
