package queue_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/examples/queue"
	"github.com/pgexthost/pgexthost/plugins"
)

// mail is the payload of the jobs of kind "mail".
type mail struct {
	Customer int64
	Text     string
}

// send stands for a service that is no part of the database. It is told the
// number of the job, so that it can tell a repetition.
func send(_ context.Context, _ mail, _ int64) error { return nil }

func sendMail(ctx context.Context, tx pgx.Tx, job queue.Job) error {
	var m mail
	if err := json.Unmarshal(job.Payload, &m); err != nil {
		return queue.Permanent(err) // further attempts would not mend it
	}
	if err := send(ctx, m, job.ID); err != nil {
		return err // tried again later
	}
	_, err := tx.Exec(ctx, "UPDATE customer SET mailed = now() WHERE id = $1", m.Customer)
	return err
}

// An executable with handlers of its own.
func ExampleLibrary() {
	main := func() {
		plugins.Main(queue.Library(queue.Handlers{"mail": sendMail}))
	}
	_ = main
	fmt.Println(queue.LibraryName)
	// Output: queue
}
