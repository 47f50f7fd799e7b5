package connect

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// DefaultDatabase is the maintenance database where the settings name none.
const DefaultDatabase = "postgres"

// Config says how to reach the server, and as whom. It is immutable.
type Config struct {
	conninfo string
	pgx      *pgx.ConnConfig
}

// ParseConninfo reads a connection string as pgx does, which is nearly as
// libpq does: keywords and values or a URI, PG* variables, service file,
// password file, TLS parameters, several hosts with target_session_attrs.
// An empty string leaves everything to the environment and the defaults.
//
// What differs from libpq: the default database is "postgres", not the one
// named like the user; with several hosts, the password file is searched for
// the first only; fallback_application_name is ignored, since every session is
// named after its worker.
//
// It returns an *elog.ErrorData with SQLSTATE 22023 if the string cannot be
// understood, or holds a parameter that libpq or pgx does not know. No part
// of the string that might be a password is in the error.
func ParseConninfo(conninfo string) (*Config, error) {
	parsed, err := parse(conninfo)
	if err != nil {
		return nil, err
	}
	c := &Config{conninfo: withoutLooseEnd(conninfo), pgx: parsed}
	if parsed.Database == "" {
		return c.forDatabase(DefaultDatabase)
	}
	return c, nil
}

// User returns the name of the role that the settings connect as.
func (c *Config) User() string { return c.pgx.User }

// Database returns the name of the maintenance database: the one that the
// settings name.
func (c *Config) Database() string { return c.pgx.Database }

func parse(conninfo string) (*pgx.ConnConfig, error) {
	parsed, err := pgx.ParseConfig(conninfo)
	if err != nil {
		return nil, unparsable(err)
	}
	if refusal := refuseSplitPassword(parsed); refusal != nil {
		return nil, refusal
	}
	delete(parsed.RuntimeParams, "fallback_application_name")
	if refusal := refuseUnsupported(parsed.RuntimeParams); refusal != nil {
		return nil, refusal
	}
	return parsed, nil
}

// unparsable words pgx's complaint. What it says about syntax may quote a bit
// of the string that is part of a badly quoted password, and the error value
// itself holds the whole string: neither is passed on.
func unparsable(err error) *elog.ErrorData {
	e := elog.New(elog.Error, elog.InvalidParameterValue, "invalid connection string")
	var complaint *pgconn.ParseConfigError
	if !errors.As(err, &complaint) {
		return e
	}
	redacted := *complaint
	redacted.ConnString = ""
	reason := strings.TrimPrefix(redacted.Error(), "cannot parse ``: ")
	switch {
	case strings.HasPrefix(reason, "failed to parse as keyword/value"):
		return e.WithDetail("It is not a list of keyword=value pairs.").
			WithHint("Enclose a value with spaces in single quotes, and write a backslash before a quote or backslash within.")
	case strings.HasPrefix(reason, "failed to parse as URL"):
		return e.WithDetail("It is not a valid URI.").
			WithHint("Write characters with a special meaning as a percent sign and two hexadecimal digits.")
	}
	e.Message += ": " + reason
	return e
}

// refuseSplitPassword refuses host names that hold what is most likely the rest
// of a password: "postgres://user:p@ss@host" has the host "ss@host", which would
// show in the log as a name that cannot be resolved.
func refuseSplitPassword(parsed *pgx.ConnConfig) *elog.ErrorData {
	hosts := []string{parsed.Host}
	for _, f := range parsed.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	for _, h := range hosts {
		if strings.Contains(h, "@") {
			return elog.New(elog.Error, elog.InvalidParameterValue, "invalid connection string").
				WithDetail("A host name contains \"@\".").WithHint("In the password of a URI, write %%40 for it.")
		}
	}
	return nil
}

// ForDatabase returns the settings for another database of the same server, with
// the password that belongs to it. It returns an error with SQLSTATE 22023 only if
// the password or service file has become unreadable.
func (c *Config) ForDatabase(name string) (*Config, error) { return c.forDatabase(name) }

// forDatabase returns the settings for another database. They are parsed
// again, because the password may depend on the database: a line of the
// password file can name one.
func (c *Config) forDatabase(name string) (*Config, error) {
	if name == c.pgx.Database {
		return c, nil
	}
	parsed, err := parse(c.with(parameter{"dbname", name}))
	if err != nil {
		return nil, err
	}
	return &Config{conninfo: c.conninfo, pgx: parsed}, nil
}

// parameter is a keyword of a connection string and its value.
type parameter struct{ keyword, value string }

// with returns the connection string with more parameters, which take precedence
// over its own.
func (c *Config) with(params ...parameter) string {
	between := " "
	if isURI(c.conninfo) {
		between = "&"
	}
	written := make([]string, 0, len(params))
	for _, p := range params {
		written = append(written, p.written(c.conninfo))
	}
	return c.conninfo + c.separator() + strings.Join(written, between)
}

// probeName is a database name that nothing but our own parameter can have
// brought into a parsed configuration.
const probeName = "\x01pgexthost\x01"

// separator returns what has to stand between the connection string and one
// more parameter, the last of a name being the one that counts. Which it is
// depends on how the string ends (with a query or none, a value or none); the
// parser alone knows for sure, so it is asked.
func (c *Config) separator() string {
	candidates := []string{" ", "'' "}
	if isURI(c.conninfo) {
		candidates = []string{"?", "&", ""}
	}
	for _, s := range candidates {
		parsed, err := pgx.ParseConfig(c.conninfo + s + parameter{"dbname", probeName}.written(c.conninfo))
		if err == nil && parsed.Database == probeName {
			return s
		}
	}
	return candidates[0]
}

// withoutLooseEnd drops a backslash that escapes the end of the string, which
// means nothing there, but would escape what comes after.
func withoutLooseEnd(conninfo string) string {
	trimmed := strings.TrimRight(conninfo, `\`)
	if (len(conninfo)-len(trimmed))%2 == 1 && !isURI(conninfo) {
		return conninfo[:len(conninfo)-1]
	}
	return conninfo
}

func isURI(conninfo string) bool {
	return strings.HasPrefix(conninfo, "postgres://") || strings.HasPrefix(conninfo, "postgresql://")
}

// written is the parameter as it is written in a connection string like this one.
func (p parameter) written(conninfo string) string {
	if !isURI(conninfo) {
		return p.keyword + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p.value) + "'"
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString(p.keyword + "=")
	for i := range len(p.value) {
		b.Write([]byte{'%', hex[p.value[i]>>4], hex[p.value[i]&15]})
	}
	return b.String()
}
