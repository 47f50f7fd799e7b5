package connect

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// roleSettings are what ALTER ROLE … SET and ALTER DATABASE … SET give to a
// session of a role.
type roleSettings struct {
	ordinary []parameter
	role     []parameter // the setting "role", which counts once the session is the role's
}

// roleSettingsQuery lists the settings for sessions of a role with this
// database, those of more weight later. Mirrors process_settings.
const roleSettingsQuery = `SELECT c FROM pg_catalog.pg_db_role_setting s, pg_catalog.pg_database d, pg_catalog.unnest(s.setconfig) WITH ORDINALITY u (c, n)
WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
	AND s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0, d.oid]) AND s.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0, $1::pg_catalog.oid])
ORDER BY s.setrole OPERATOR(pg_catalog.<>) 0, s.setdatabase OPERATOR(pg_catalog.<>) 0, n`

// roleSettings returns the settings that a login of the role would have brought:
// all but those that a session of ours has from elsewhere, with precedence.
func (h host) roleSettings(ctx context.Context, c *Conn, role uint32) (roleSettings, error) {
	result := c.PgConn().ExecParams(ctx, roleSettingsQuery, [][]byte{strconv.AppendUint(nil, uint64(role), 10)}, nil, nil, nil).Read()
	if result.Err != nil {
		return roleSettings{}, lookUpError(ctx, result.Err)
	}
	settled := h.opts.settled(c.Config().RuntimeParams)
	values := make(map[string]string)
	for _, row := range result.Rows {
		name, value, _ := strings.Cut(string(row[0]), "=")
		if name = strings.ToLower(name); !settled[name] {
			values[name] = value
		}
	}
	var s roleSettings
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if name == "role" {
			s.role = []parameter{{name, values[name]}}
			continue
		}
		s.ordinary = append(s.ordinary, parameter{name, values[name]})
	}
	return s, nil
}

// settled returns the names of the settings that no role has a say in.
func (o options) settled(params map[string]string) map[string]bool {
	names := givenSettings(params)
	for name := range o.settings {
		names[strings.ToLower(name)] = true
	}
	if !o.keepTimeouts {
		for _, name := range timeouts {
			names[name] = true
		}
	}
	// Session_authorization has no effect there in PostgreSQL, either.
	for _, name := range []string{deathWatch, "application_name", "client_encoding", "session_authorization", ajarRecord} {
		names[name] = true
	}
	return names
}

// applySettings applies what can be applied. As at a login, a setting that the
// server refuses is worth a WARNING; it is not in the way of the others.
func (h host) applySettings(ctx context.Context, c *Conn, r *role, settings []parameter) error {
	var refused *pgconn.PgError
	err := setAll(ctx, c, settings)
	if err == nil || !errors.As(err, &refused) || endsSession(refused) || ctx.Err() != nil {
		return lookUpError(ctx, err)
	}
	for _, s := range settings {
		err := setAll(ctx, c, []parameter{s})
		if err == nil {
			continue
		}
		if !errors.As(err, &refused) || endsSession(refused) || ctx.Err() != nil {
			return lookUpError(ctx, err)
		}
		if h.client.notice != nil {
			e := fromServer(refused, elog.Warning)
			e.Context = "settings of role \"" + r.name + "\""
			h.client.notice(e)
		}
	}
	return nil
}

// setAll sets settings for the session: all of them, or none.
func setAll(ctx context.Context, c *Conn, settings []parameter) error {
	if len(settings) == 0 {
		return nil
	}
	calls := make([]string, 0, len(settings))
	for _, s := range settings {
		calls = append(calls, "pg_catalog.set_config("+quoteLiteral(s.keyword)+","+quoteLiteral(s.value)+", false)")
	}
	_, err := c.PgConn().Exec(ctx, "SELECT "+strings.Join(calls, ", ")).ReadAll()
	return err
}
