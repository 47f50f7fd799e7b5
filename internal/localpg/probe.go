package localpg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	firstPause = 2 * time.Millisecond
	maxPause   = 50 * time.Millisecond
	// pingTimeout bounds one attempt; a server that is starting answers at once.
	pingTimeout = 5 * time.Second
)

// awaitReady tries to log in at the socket until that works. It fails when the
// postmaster ends or ctx does.
func awaitReady(ctx context.Context, p *process, socket string) error {
	pause := firstPause
	for {
		err := ping(ctx, socket)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.exited:
			timer.Stop()
			return fmt.Errorf("postgres ended before it was ready: %s", p.cmd.ProcessState)
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("postgres was not ready in time: %w; last attempt to connect: %w", context.Cause(ctx), err)
		}
		pause = min(2*pause, maxPause)
	}
}

// ping logs in as the superuser and out again. pgconn is not used because it
// takes settings from PG* variables and service files. A server that wants a
// password, or refuses us by its pg_hba.conf, is up.
func ping(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	frontend := pgproto3.NewFrontend(conn, conn)
	frontend.Send(&pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters:      map[string]string{"user": superuser, "database": superuser, "application_name": "localpg"},
	})
	if err := frontend.Flush(); err != nil {
		return err
	}
	for {
		msg, err := frontend.Receive()
		if err != nil {
			return err
		}
		switch msg := msg.(type) {
		case *pgproto3.ReadyForQuery:
			frontend.Send(&pgproto3.Terminate{})
			_ = frontend.Flush() // it is up, whether or not it hears the farewell
			return nil
		case *pgproto3.AuthenticationOk:
		case pgproto3.AuthenticationResponseMessage:
			return nil
		case *pgproto3.ErrorResponse:
			if strings.HasPrefix(msg.Code, "28") { // invalid authorization
				return nil
			}
			return errors.New(msg.Message)
		}
	}
}
