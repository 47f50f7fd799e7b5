package settings

import (
	"math"

	"github.com/pgexthost/pgexthost/internal/guc"
)

// Names of the gateway's settings, PostgreSQL's where it has them.
const (
	AuthenticationTimeout = "authentication_timeout"
	GatewayCompat         = "gateway_compat"
	ListenAddresses       = "listen_addresses"
	MaxConnections        = "max_connections"
	Port                  = "port"
	SSL                   = "ssl"
	SSLCertFile           = "ssl_cert_file"
	SSLKeyFile            = "ssl_key_file"
	UnixSocketDirectories = "unix_socket_directories"
)

// gatewayDefinitions are the settings of the door for psql and drivers.
func gatewayDefinitions() []guc.Definition {
	return []guc.Definition{
		{
			Name: AuthenticationTimeout, Type: guc.TypeInt, Context: guc.Sighup, Unit: guc.UnitS, Default: "1min", Min: 1, Max: 600,
			ShortDesc: "How long a client of the gateway may take to be let in by the server.",
		},
		{
			Name: GatewayCompat, Type: guc.TypeBool, Context: guc.Sighup, Default: "on",
			ShortDesc: "Whether pg_stat_activity and its like show workers through the gateway.",
			LongDesc:  "These names, without quotes, are redirected to the views and functions of schema pgexthost that know the workers.",
		},
		{
			Name: ListenAddresses, Type: guc.TypeString, Context: guc.Postmaster, Default: "", Flags: guc.FlagListInput,
			ShortDesc: "The host names or IP addresses on which the gateway listens; * for all.",
		},
		{
			Name: MaxConnections, Type: guc.TypeInt, Context: guc.Postmaster, Default: "100", Min: 1, Max: math.MaxInt16,
			ShortDesc: "How many clients may be connected to the gateway at a time.",
			LongDesc:  "Each takes one of the server's own max_connections.",
		},
		{
			Name: Port, Type: guc.TypeInt, Context: guc.Postmaster, Default: "5433", Min: 1, Max: math.MaxUint16,
			ShortDesc: "The port on which the gateway listens.",
		},
		{
			Name: SSL, Type: guc.TypeBool, Context: guc.Sighup, Default: "off",
			ShortDesc: "Whether the gateway offers TLS to clients that come over TCP.",
		},
		{
			Name: SSLCertFile, Type: guc.TypeString, Context: guc.Sighup, Default: "server.crt",
			ShortDesc: "The file with the gateway's certificate; a relative path is one in the data directory.",
		},
		{
			Name: SSLKeyFile, Type: guc.TypeString, Context: guc.Sighup, Default: "server.key",
			ShortDesc: "The file with the certificate's private key; a relative path is one in the data directory.",
		},
		{
			Name: UnixSocketDirectories, Type: guc.TypeString, Context: guc.Postmaster, Default: ".", Flags: guc.FlagListInput,
			ShortDesc: "The directories for the gateway's unix sockets; a relative path is one in the data directory.",
			LongDesc:  "Where this and listen_addresses are empty there is no gateway.",
		},
	}
}
