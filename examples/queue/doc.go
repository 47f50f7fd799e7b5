// Package queue is a library of workers that do the jobs of a queue, which is a
// table of the database that the jobs are about: enqueueing is part of the
// application's transaction, and doing a job is part of one, too.
//
//	enqueue
//	   │
//	   ▼        claim: attempts + 1, run_at + claim_timeout, commit
//	 waiting ─────────────────────────────────────────────────► claimed
//	 run_at is                                                   │  │  │ lock the row, handler, delete the
//	 when it is due                                              │  │  └────────────► row, commit: done
//	   ▲                                                         │  │
//	   ├──── handler failed: run_at is put off, back-off ────────┘  │ handler failed and was the last
//	   ├──── SIGTERM: attempts - 1, due at once ─────────────────┘  │ attempt, or Permanent
//	   ├──── worker or server died: nobody does anything, the job   ▼
//	   │     is due when claim_timeout is over                     dead: a row of queue.dead,
//	   └──── queue.retry(id) ────────────────────────────────────── with the last error
//
// # Invariants
//
//   - A job is not lost: its row is deleted by the transaction that did it, or by
//     the one that makes it a dead letter, and by no other.
//   - What a handler does with its transaction happens once, if at all: the
//     deletion of the row is part of it. What it does elsewhere happens at least
//     once.
//   - A job is done by one worker at a time, however long it takes: whoever does
//     it has locked its row.
//   - A job that kills its worker costs an attempt as well. The claim, which
//     counts it, is committed before the handler begins.
//   - A job takes others down with it once at most: the first attempts of jobs
//     are claimed in batches, further ones alone.
//   - A notification only makes a worker look sooner. Without any, it looks every
//     queue.poll_interval.
//
// # The files
//
//   - library.go: the library and its settings (_PG_init), handlers;
//   - worker.go: the main function, and what it waits for;
//   - job.go: the way of a job;
//   - function.go: jobs that are functions of the database;
//   - backoff.go: when a job that failed is tried again;
//   - schema.go and schema/: the tables, by version.
package queue
