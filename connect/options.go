package connect

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Option changes how a session is opened.
type Option func(*options)

type options struct {
	keepTimeouts bool
	settings     map[string]string
	ownRole      bool
	probe        time.Duration // 0: an ordinary session
}

func newOptions(list []Option) options {
	o := options{settings: make(map[string]string)}
	for _, set := range list {
		set(&o)
	}
	return o
}

// KeepTimeouts leaves statement_timeout, idle_in_transaction_session_timeout
// and idle_session_timeout as the server, the role or the database has set
// them. Without it they are 0 in a new session, because such limits are meant
// for people and applications; a value in the connection settings counts in any
// case. lock_timeout and transaction_timeout are never touched.
func KeepTimeouts() Option { return func(o *options) { o.keepTimeouts = true } }

// WithSetting sets a run-time parameter of the server for the session, with
// precedence over the connection settings, the role and the database. If the
// server refuses it, the session is not opened.
func WithSetting(name, value string) Option {
	return func(o *options) { o.settings[name] = value }
}

// IgnoreDatabaseRole keeps ALTER DATABASE … SET role from having an effect on the
// session: that is for the owner of the database to say, who would choose whose
// objects the session takes for its own, while they can still RESET ROLE. What the
// connection settings or ALTER ROLE say counts.
func IgnoreDatabaseRole() Option { return func(o *options) { o.ownRole = true } }

// AsProbe is for a session that only finds out about the server, which may be
// down, ill, or no PostgreSQL at all. Limit bounds the look-up of each host
// name, the first exchange, and the attempt at each address, unless the
// connection settings have a connect_timeout for those. A server that sends much
// more than short questions ask for breaks the session, as does the end of a
// statement's context; no cancel request is ever sent.
func AsProbe(limit time.Duration) Option { return func(o *options) { o.probe = limit } }

// timeouts are the limits that a new session is freed from.
var timeouts = []string{"statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"}

// deathWatch is the setting that makes a server notice, while a statement runs,
// that its client is gone: a worker that was killed must not run on beside the
// one that replaces it.
const deathWatch = "client_connection_check_interval"

// setup returns the one statement that prepares a new session. It also asks for
// the database's OID.
func (o options) setup(params map[string]string) string {
	settings := make(map[string]string)
	if !o.keepTimeouts {
		given := givenSettings(params)
		for _, name := range timeouts {
			if !given[name] {
				settings[name] = "0"
			}
		}
	}
	maps.Copy(settings, o.settings)

	var b strings.Builder
	b.WriteString("SELECT d.oid")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		b.WriteString(", pg_catalog.set_config(" + quoteLiteral(name) + ", " + quoteLiteral(settings[name]) + ", false)")
	}
	if !givenSettings(params)[deathWatch] && settings[deathWatch] == "" {
		// Some systems can't, and their servers refuse any value but 0.
		b.WriteString(", CASE WHEN pg_catalog.version() OPERATOR(pg_catalog.~~) '%linux%' THEN pg_catalog.set_config('" + deathWatch + "', '2s', false) END")
	}
	if o.ownRole && !givenSettings(params)["role"] {
		b.WriteString(", pg_catalog.set_config('role', coalesce((" + ownRoleQuery + "), 'none'), false)")
	}
	b.WriteString(" FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()")
	return b.String()
}

// ownRoleQuery asks for the role that ALTER ROLE gives the login: as it does at a
// login, if that role exists and may be set.
const ownRoleQuery = `SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_db_role_setting s
	JOIN pg_catalog.pg_roles l ON l.oid OPERATOR(pg_catalog.=) s.setrole AND l.rolname OPERATOR(pg_catalog.=) session_user,
	pg_catalog.unnest(s.setconfig) c
	JOIN pg_catalog.pg_roles r ON c OPERATOR(pg_catalog.=) pg_catalog.concat('role=', r.rolname)
	WHERE s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0, d.oid]) AND pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
	ORDER BY s.setdatabase OPERATOR(pg_catalog.=) 0 LIMIT 1`

// quoteLiteral writes a string constant that means the same whatever
// standard_conforming_strings is.
func quoteLiteral(s string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

// givenSettings returns the names of the server's settings that the connection
// settings set, by themselves or within "options".
func givenSettings(params map[string]string) map[string]bool {
	given := make(map[string]bool)
	for name := range params {
		given[strings.ToLower(name)] = true
	}
	expectName := false
	for _, word := range splitOptions(params["options"]) {
		name, isOption := word, expectName
		for _, prefix := range []string{"--", "-c"} {
			if rest, found := strings.CutPrefix(word, prefix); found && !expectName {
				name, isOption = rest, true
				break
			}
		}
		expectName = isOption && name == ""
		name, _, _ = strings.Cut(name, "=")
		if isOption && name != "" {
			given[strings.ToLower(strings.ReplaceAll(name, "-", "_"))] = true
		}
	}
	return given
}

// splitOptions splits at white space that no backslash precedes, as the
// server's pg_split_opts does.
func splitOptions(s string) []string {
	var words []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(" \t\n\v\f\r", s[i]) >= 0 {
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
			continue
		}
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		inWord = true
		word.WriteByte(s[i])
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
