package settings

import (
	_ "embed"
	"strings"
)

//go:embed pgexthost.conf.sample
var sample string

// Sample returns a commented configuration file in which only server_conninfo
// is set, and only if conninfo is not empty.
func Sample(conninfo string) string {
	if conninfo == "" {
		return sample
	}
	quoted := "'" + strings.NewReplacer("'", "''", `\`, `\\`, "\n", `\n`).Replace(conninfo) + "'"
	return strings.Replace(sample, "#server_conninfo = ''", "server_conninfo = "+quoted, 1)
}
