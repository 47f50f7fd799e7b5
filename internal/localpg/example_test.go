package localpg_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/localpg"
)

func Example() {
	ctx := context.Background()
	server, err := localpg.Start(ctx, localpg.Options{Settings: []string{"wal_level=logical"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop(ctx)

	conn, err := pgx.Connect(ctx, server.ConnInfo())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close(ctx)
	var level string
	err = conn.QueryRow(ctx, "SHOW wal_level").Scan(&level)
	fmt.Println(level, err)
	// Output: logical <nil>
}
