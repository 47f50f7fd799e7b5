package connect_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// A main function connects once, and works in transactions.
func ExampleInitializeConnection() {
	var main plugins.MainFunc = func(ctx context.Context, w *plugins.Worker) error {
		conn, err := connect.InitializeConnection(ctx, w, "mydb", "", 0)
		if err != nil {
			return err
		}
		return conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM events WHERE created < now() - interval '30 days'")
			return err
		})
	}
	_ = main
}

// A worker that was registered at run time may carry OIDs instead of names.
func ExampleInitializeConnectionByOID() {
	var main plugins.MainFunc = func(ctx context.Context, w *plugins.Worker) error {
		conn, err := connect.InitializeConnectionByOID(ctx, w, uint32(w.Entry().MainArg), 0, 0, connect.WithSetting("work_mem", "64MB"))
		if err != nil {
			return err
		}
		w.Logf(elog.Log, "connected to database \"%s\", version %s", conn.Database(), conn.ServerVersion())
		return nil
	}
	_ = main
}

// A statement that was cancelled has not cost the worker its session.
func ExampleIsStatementCancelled() {
	tidy := func(ctx context.Context, w *plugins.Worker, conn *connect.Conn) error {
		_, err := conn.Exec(ctx, "VACUUM")
		if connect.IsStatementCancelled(err) && ctx.Err() == nil {
			w.Logf(elog.Log, "somebody has cancelled the vacuum")
			return nil
		}
		return err
	}
	_ = tidy
}

func ExampleParseConninfo() {
	config, err := connect.ParseConninfo("host=/tmp user=worker")
	if err != nil {
		panic(err)
	}
	fmt.Println(config.User(), config.Database())
	// Output: worker postgres
}

func ExampleParseConninfo_refused() {
	_, err := connect.ParseConninfo("host=localhost keepalives=1")
	var e *elog.ErrorData
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.Message)
		fmt.Println(e.Hint)
	}
	// Output:
	// 22023 connection parameter "keepalives" is not supported
	// Remove it: TCP keepalives are always on.
}
