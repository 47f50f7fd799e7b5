package connect_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// withSession runs work in a session with a real server, as a main function
// does with what InitializeConnection returns.
func withSession(work func(ctx context.Context, conn *connect.Conn) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	config, err := connect.ParseConninfo(server.ConnInfo())
	if err != nil {
		panic(err)
	}
	conn, err := connect.Open(ctx, config, "example")
	if err != nil {
		panic(err)
	}
	defer conn.Close(ctx)
	if err := work(ctx, conn); err != nil {
		panic(err)
	}
}

// A statement can be given less time than its worker has. Its error is the
// server's, 57014, and no context.DeadlineExceeded: whose end it was, the
// contexts tell. The session goes on.
func ExampleConn() {
	withSession(func(ctx context.Context, conn *connect.Conn) error {
		limited, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err := conn.Exec(limited, "SELECT pg_sleep(60)")
		switch {
		case ctx.Err() != nil: // the worker's own end, such as SIGTERM
			return context.Cause(ctx)
		case limited.Err() != nil && connect.IsStatementCancelled(err):
			fmt.Println("it took too long:", connect.SQLState(err))
		case err != nil:
			return err
		}
		var one int
		err = conn.QueryRow(ctx, "SELECT 1").Scan(&one)
		fmt.Println("the session goes on:", one)
		return err
	})
	// Output:
	// it took too long: 57014
	// the session goes on: 1
}

// What work returns comes back as it is, after a roll-back.
func ExampleConn_InTransaction() {
	withSession(func(ctx context.Context, conn *connect.Conn) error {
		if _, err := conn.Exec(ctx, "CREATE TEMP TABLE event (id int)"); err != nil {
			return err
		}
		errEnough := errors.New("enough")
		err := conn.InTransaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO event VALUES (1)"); err != nil {
				return err
			}
			return errEnough
		})
		fmt.Println(errors.Is(err, errEnough))
		var left int
		err = conn.QueryRow(ctx, "SELECT count(*) FROM event").Scan(&left)
		fmt.Println(left)
		return err
	})
	// Output:
	// true
	// 0
}

// Work that may have to be done again must not remember its first attempt.
func ExampleIsSerializationFailure() {
	withSession(func(ctx context.Context, conn *connect.Conn) error {
		attempts := 0
		for {
			attempts++
			err := conn.InTransactionWith(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(ctx context.Context, tx pgx.Tx) error {
				if attempts == 1 { // as if another transaction had been in the way
					_, err := tx.Exec(ctx, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
					return err
				}
				_, err := tx.Exec(ctx, "SELECT 1")
				return err
			})
			if connect.IsSerializationFailure(err) {
				continue
			}
			fmt.Println(attempts, "attempts")
			return err
		}
	})
	// Output: 2 attempts
}

// A worker of a queue: it looks for work at each notification, and in any case
// now and then, which is also when it notices a reload.
func ExampleConn_WaitForNotification() {
	var main plugins.MainFunc = func(ctx context.Context, w *plugins.Worker) error {
		if err := w.HandleSignal(unix.SIGHUP, plugins.SignalHandlerForConfigReload); err != nil {
			return err
		}
		conn, err := connect.InitializeConnection(ctx, w, "", "", 0)
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "LISTEN queue"); err != nil {
			return err
		}
		for {
			if _, err := conn.Exec(ctx, "DELETE FROM queue WHERE done"); err != nil {
				return err
			}
			nap, cancel := context.WithTimeout(ctx, 10*time.Second)
			_, err := conn.WaitForNotification(nap)
			cancel()
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil && !connect.IsStatementCancelled(err):
				return err // the session is lost
			}
			if w.ConfigReloadPending() {
				w.ProcessConfigFile()
			}
		}
	}
	_ = main
}

// A worker that reports an error of the server and goes on: with the server's
// DETAIL and HINT, and without pgx's "ERROR: … (SQLSTATE …)".
func ExampleAsErrorData() {
	refused := &pgconn.PgError{Severity: "ERROR", Code: "55000", Message: "materialized view \"sales\" has not been populated", Hint: "Use the REFRESH MATERIALIZED VIEW command."}
	err := fmt.Errorf("could not look at the view: %w", refused)

	report := connect.AsErrorData(err, elog.Warning) // for w.Ereport, or an attribute of slog
	fmt.Println(report.Level, report.Code, report.Message)
	fmt.Println(report.Hint)
	// Output:
	// WARNING 55000 could not look at the view: materialized view "sales" has not been populated
	// Use the REFRESH MATERIALIZED VIEW command.
}

// What is the server's fault is returned: the host starts the worker again once
// the server is back. What is the statement's need not end the worker.
func ExampleIsServerEvent() {
	round := func(ctx context.Context, w *plugins.Worker, conn *connect.Conn) error {
		_, err := conn.Exec(ctx, "REFRESH MATERIALIZED VIEW sales")
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || connect.IsServerEvent(err):
			return err
		}
		w.Ereport(connect.AsErrorData(err, elog.Warning))
		return nil
	}
	_ = round

	fmt.Println(connect.IsServerEvent(&pgconn.PgError{Code: "57P01"})) // terminated by an administrator
	fmt.Println(connect.IsServerEvent(&pgconn.PgError{Code: "42P01"})) // no such table
	// Output:
	// true
	// false
}

// Codes that package elog has no name for are strings like all others.
func ExampleSQLState() {
	withSession(func(ctx context.Context, conn *connect.Conn) error {
		_, err := conn.Exec(ctx, "SELECT 1/0")
		fmt.Println(connect.SQLState(err), connect.SQLState(err) == "22012")
		_, err = conn.Exec(ctx, "SELECT * FROM nosuch")
		fmt.Println(connect.SQLState(err), connect.SQLState(err).Class())
		return nil
	})
	// Output:
	// 22012 true
	// 42P01 42
}

// A session with a limit of its own. The time-outs of the role and the database
// count only if they are asked for.
func ExampleWithSetting() {
	var main plugins.MainFunc = func(ctx context.Context, w *plugins.Worker) error {
		conn, err := connect.InitializeConnection(ctx, w, "mydb", "", 0,
			connect.KeepTimeouts(), connect.WithSetting("lock_timeout", "5s"), connect.WithSetting("work_mem", "64MB"))
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "VACUUM ANALYZE events")
		return err
	}
	_ = main
}
