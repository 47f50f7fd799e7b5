package connect_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
)

// What tells a session from others, for the log of a worker.
func ExampleConn_BackendPid() {
	withSession(func(ctx context.Context, conn *connect.Conn) error {
		var same bool
		err := conn.QueryRow(ctx, `SELECT pid = $1 AND datid = $2 AND usename = $3 FROM pg_stat_activity WHERE pid = pg_backend_pid()`,
			conn.BackendPid(), conn.DatabaseOID(), conn.User()).Scan(&same)
		fmt.Println("database", conn.Database(), "as", conn.User(), "by socket:", conn.Address()[0] == '/')
		fmt.Println("as pg_stat_activity has it:", same)
		return err
	})
	// Output:
	// database postgres as postgres by socket: true
	// as pg_stat_activity has it: true
}

// A session that is lost is not replaced: main returns the error, and the host starts
// the worker again.
func ExampleIsConnectionLost() {
	for _, err := range []error{
		&pgconn.PgError{Code: "08006"}, // the network
		&pgconn.PgError{Code: "57P01"}, // somebody's pg_terminate_backend, or a shutdown
		&pgconn.PgError{Code: "23505"}, // a duplicate key
	} {
		fmt.Println(connect.SQLState(err), connect.IsConnectionLost(err), connect.IsAdminShutdown(err))
	}
	// Output:
	// 08006 true false
	// 57P01 false true
	// 23505 false false
}
