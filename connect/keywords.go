package connect

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// unsupported lists libpq's connection parameters that pgx does not know. It
// would send them to the server as run-time parameters, where one or another
// even means something else. Those with an environment variable would be
// ignored silently there, which is no better: most say where to connect, or
// how safely.
var unsupported = []struct {
	keyword  string
	variable string
	harmless string // a value that asks for what happens anyway
	hint     string
}{
	{"hostaddr", "PGHOSTADDR", "", `Put the address into "host".`},
	{"gssencmode", "PGGSSENCMODE", "disable prefer", `Remove it: connections are never encrypted by GSSAPI. Use "sslmode".`},
	{"gsslib", "", "", "Remove it: GSSAPI is not available."},
	{"gssdelegation", "", "", "Remove it: GSSAPI is not available."},
	{"keepalives", "", "", "Remove it: TCP keepalives are always on."},
	{"keepalives_idle", "", "", "Remove it: TCP keepalives are always on."},
	{"keepalives_interval", "", "", "Remove it: TCP keepalives are always on."},
	{"keepalives_count", "", "", "Remove it: TCP keepalives are always on."},
	{"tcp_user_timeout", "", "", "Remove it: TCP keepalives are always on."},
	{"load_balance_hosts", "PGLOADBALANCEHOSTS", "disable", "Remove it: hosts are tried in the order given."},
	{"requirepeer", "PGREQUIREPEER", "", "Protect the directory of the server's socket instead."},
	{"sslcompression", "", "", "Remove it: SSL compression is never used."},
	{"sslcrl", "PGSSLCRL", "", "Certificate revocation lists are not available."},
	{"sslcrldir", "PGSSLCRLDIR", "", "Certificate revocation lists are not available."},
	{"ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", "TLSv1 TLSv1.1 TLSv1.2", "Remove it: the minimum is always TLSv1.2."},
	{"ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", "TLSv1.3", "Remove it: the best version both sides know is used."},
	{"sslkeylogfile", "", "", "Remove it."},
	{"replication", "", "", "Remove it: a worker's connection runs SQL."},
	{"scram_client_key", "", "", `Use "password" or a password file.`},
	{"scram_server_key", "", "", `Use "password" or a password file.`},
	{"oauth_issuer", "", "", "OAuth is not available."},
	{"oauth_client_id", "", "", "OAuth is not available."},
	{"oauth_client_secret", "", "", "OAuth is not available."},
	{"oauth_scope", "", "", "OAuth is not available."},
}

// refuseUnsupported returns the refusal of the first parameter or variable
// that cannot be honoured, or nil. Values are not shown: one of them may be a
// secret.
func refuseUnsupported(params map[string]string) *elog.ErrorData {
	for _, u := range unsupported {
		if _, given := params[u.keyword]; given {
			return elog.New(elog.Error, elog.InvalidParameterValue, "connection parameter \"%s\" is not supported", u.keyword).
				WithDetail("It would be sent to the server as a setting.").WithHint("%s", u.hint)
		}
		value := os.Getenv(u.variable)
		if u.variable != "" && value != "" && !contains(u.harmless, value) {
			return elog.New(elog.Error, elog.InvalidParameterValue, "environment variable \"%s\" is not supported", u.variable).
				WithDetail("It stands for the connection parameter \"%s\", which would be ignored.", u.keyword).WithHint("%s", u.hint)
		}
	}
	for _, keyword := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(settable, keyword) {
			return elog.New(elog.Error, elog.InvalidParameterValue, "invalid connection option \"%s\"", keyword).
				WithHint("A setting of the server goes into \"options\", as -c name=value.")
		}
	}
	return refuseEncoding(params["client_encoding"])
}

// settable are the connection parameters that are settings of the server. pgx
// takes every word that it does not know for one; libpq calls it invalid.
var settable = []string{"application_name", "client_encoding", "options"}

func contains(list, word string) bool {
	for _, w := range strings.Fields(list) {
		if w == word {
			return true
		}
	}
	return false
}

// refuseEncoding insists on UTF-8: Go's strings are, and pgx does not convert.
func refuseEncoding(encoding string) *elog.ErrorData {
	switch strings.ToLower(strings.NewReplacer("-", "", "_", "", "'", "").Replace(encoding)) {
	case "", "utf8", "unicode":
		return nil
	}
	return elog.New(elog.Error, elog.InvalidParameterValue, "connection parameter \"%s\" must be UTF8", "client_encoding").
		WithHint("Remove it: the server converts from the database's encoding.")
}
