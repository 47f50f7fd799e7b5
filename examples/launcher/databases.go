package launcher

import (
	"context"
	"path"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// database is a database that is to have a worker.
type database struct {
	oid  uint32
	name string
}

// databasesSQL leaves out what no worker could connect to. A connection limit of
// -2 is the mark of a database that DROP DATABASE was interrupted on.
const databasesSQL = `SELECT oid, datname FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 AND pg_catalog.has_database_privilege(oid, 'CONNECT')
ORDER BY oid`

// databases returns the databases that are to have a worker, by OID.
func (l *library) databases(ctx context.Context, conn *connect.Conn) ([]database, error) {
	rows, err := conn.Query(ctx, databasesSQL)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d database, err error) {
		err = row.Scan(&d.oid, &d.name)
		return d, err
	})
	include, exclude := l.include(), l.exclude()
	unwanted := func(d database) bool { return !matches(include, d.name) || matches(exclude, d.name) }
	return slices.DeleteFunc(all, unwanted), err
}

// matches reports whether a name matches any pattern of a list.
func matches(list, name string) bool {
	patterns, _ := plugins.SplitLibraries(list, "") // the check hook has refused what is none
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// patternsOf returns the check hook of a list of patterns.
func patternsOf(parameter string) func(list string) error {
	return func(list string) error {
		patterns, err := plugins.SplitLibraries(list, parameter)
		if err != nil {
			return err
		}
		for _, pattern := range patterns {
			if _, err := path.Match(pattern, ""); err != nil {
				return elog.New(elog.Error, elog.InvalidParameterValue, "invalid pattern in parameter \"%s\": \"%s\"", parameter, pattern).
					WithHint("A pattern is a name in which * stands for any text, ? for any character and [a-z] for one of these.")
			}
		}
		return nil
	}
}
