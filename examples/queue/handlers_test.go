package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// testHandlers are what the workers of the tests can do.
var testHandlers = Handlers{
	"effect":    leaveEffect,
	"hold":      hold,
	"companion": holdInBatch,
	"fail":      func(ctx context.Context, tx pgx.Tx, job Job) error { return fail(ctx, tx, job) },
	"permanent": func(ctx context.Context, tx pgx.Tx, job Job) error { return Permanent(fail(ctx, tx, job)) },
	"panic":     func(context.Context, pgx.Tx, Job) error { panic("out of cheese") },
	"kill": func(_ context.Context, _ pgx.Tx, job Job) error {
		if err := noteBegun(job); err != nil {
			return err
		}
		return unix.Kill(os.Getpid(), unix.SIGKILL)
	},
	"second": func(ctx context.Context, tx pgx.Tx, job Job) error {
		if job.Attempt < 2 {
			return fail(ctx, tx, job)
		}
		return leaveEffect(ctx, tx, job)
	},
	"deferred": func(ctx context.Context, tx pgx.Tx, _ Job) error { // fails in COMMIT
		_, err := tx.Exec(ctx, "INSERT INTO child VALUES (1)")
		return err
	},
	"sleep": func(ctx context.Context, tx pgx.Tx, job Job) error {
		if err := noteBegun(job); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT pg_sleep(600)")
		return err
	},
}

// leaveEffect does something inside the transaction, and something outside.
func leaveEffect(ctx context.Context, tx pgx.Tx, job Job) error {
	if err := noteBegun(job); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO effect (job) SELECT $1 FROM pg_sleep(0.002)", job.ID)
	return err
}

// hold leaves its effect and then waits until the test lets it go.
func hold(ctx context.Context, tx pgx.Tx, job Job) error {
	if _, err := tx.Exec(ctx, "INSERT INTO effect (job) VALUES ($1)", job.ID); err != nil {
		return err
	}
	if err := noteBegun(job); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(dirOf(job), "go")); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// holdInBatch is hold for the first job that was claimed together with others,
// and leaveEffect for those before it.
func holdInBatch(ctx context.Context, tx pgx.Tx, job Job) error {
	var others int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM queue.job WHERE claimed_by IS NOT NULL AND id <> $1", job.ID).Scan(&others); err != nil {
		return err
	}
	if others == 0 {
		return leaveEffect(ctx, tx, job)
	}
	held := filepath.Join(dirOf(job), "held")
	if err := os.WriteFile(held+".new", fmt.Appendf(nil, "%d %d", job.ID, os.Getpid()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(held+".new", held); err != nil {
		return err
	}
	return hold(ctx, tx, job)
}

// fail leaves an effect that must be rolled back.
func fail(ctx context.Context, tx pgx.Tx, job Job) error {
	if err := leaveEffect(ctx, tx, job); err != nil {
		return err
	}
	return errors.New("no luck")
}

// noteBegun appends the job and this process to the file "begun".
func noteBegun(job Job) error {
	f, err := os.OpenFile(filepath.Join(dirOf(job), "begun"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%d %d\n", job.ID, os.Getpid())
	return err
}

func dirOf(job Job) string {
	var payload struct{ Dir string }
	_ = json.Unmarshal(job.Payload, &payload)
	return payload.Dir
}
