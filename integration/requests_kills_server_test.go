//go:build linux

package integration

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	requestlauncher "github.com/pgexthost/pgexthost/sql/launcher"
)

// try runs statements, over a connection that may be lost. They wait for no lock.
func (l *requestLife) try(sql string) (value string, err error) {
	err = withConn(l.t, l.conninfo(), func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SET lock_timeout = '100ms'"); err != nil {
			return err
		}
		return conn.QueryRow(ctx, sql).Scan(&value)
	})
	return value, err
}

// insist runs a statement as soon as the server is there.
func (l *requestLife) insist(conninfo, sql string) (value string) {
	l.t.Helper()
	l.host.eventually("the server", func() bool {
		err := withConn(l.t, conninfo, func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "SELECT coalesce(("+sql+")::text, '')").Scan(&value)
		})
		return err == nil
	})
	return value
}

const launcherSessions = `FROM pg_stat_activity WHERE application_name = '` + requestlauncher.ApplicationName + `' AND datname = `

// holdCommit lets the process go on until its commit is on disk, and the server
// does not say so: it waits for a standby that will never come.
func (l *requestLife) holdCommit(stopped int) {
	l.t.Helper()
	l.awaitStandby("'nobody'")
	l.host.eventually("commits to wait", func() bool {
		l.commitSomething()
		return l.insist(l.server.ConnInfo(), "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "true"
	})
	_ = unix.Kill(stopped, unix.SIGCONT)
	l.host.eventually("the launcher's commit", func() bool {
		return l.insist(l.server.ConnInfo(), "SELECT count(*) "+launcherSessions+"'"+l.database+"' AND wait_event = 'SyncRep'") == "1"
	})
}

// commitSomething gives up if that takes long, but the server does not.
func (l *requestLife) commitSomething() {
	_ = withConn(l.t, l.server.ConnInfo(), func(ctx context.Context, conn *pgx.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second/4)
		defer cancel()
		_, err := conn.Exec(ctx, "SELECT pg_logical_emit_message(true, '', '')")
		return err
	})
}

// letCommit is the end of that, if the server still waits.
func (l *requestLife) letCommit() {
	l.t.Helper()
	l.awaitStandby("''")
}

// awaitStandby says which standby commits wait for.
func (l *requestLife) awaitStandby(name string) {
	l.t.Helper()
	l.host.eventually("the server", func() bool {
		return withConn(l.t, l.server.ConnInfo(), func(ctx context.Context, conn *pgx.Conn) error {
			if _, err := conn.Exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = "+name); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, "SELECT pg_reload_conf()")
			return err
		}) == nil
	})
}
