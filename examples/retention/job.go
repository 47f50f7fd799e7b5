package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// job is the work for one policy in one round.
type job struct {
	*manager
	policy policy
	dry    bool // say what there is to do, and do nothing

	step, steps int             // of the work, for pg_stat_activity
	problem     *elog.ErrorData // the first one
	blocked     bool            // a lock was not to be had: enough for this round
	more        bool            // the batch was full
	planned     []string
	news        []string // of this step, for the host's log
	inDefault   bool     // the default partition has rows
}

// run does the job: first what applications may be waiting for, then what can
// wait. An error means that the session is of no use; see judge for all others.
func (j *job) run(ctx context.Context) error {
	err := j.judge(ctx, fmt.Sprintf("follow the policy of table \"%s\"", j.policy), j.work(ctx))
	if err != nil {
		return err
	}
	return j.judge(ctx, "write the status", j.writeStatus(ctx))
}

func (j *job) work(ctx context.Context) error {
	if e := j.policy.check(); e != nil {
		return e
	}
	s, err := j.survey(ctx, j.policy)
	if err != nil {
		return err
	}
	if err := j.lookIntoDefault(ctx); err != nil {
		return err
	}
	p := planned(s)
	j.steps = min(len(p.create), j.limits.batch) + min(len(p.retire), j.limits.batch)
	// How far back to fill gaps the oldest partition tells: it goes last.
	if err := j.createAll(ctx, p.create); err != nil || j.blocked || j.more {
		return err
	}
	return j.retireAll(ctx, s, p.retire)
}

// do takes one step of the job, or says what it would be. It reports whether the
// next one makes sense.
func (j *job) do(ctx context.Context, what string, step func(ctx context.Context) error) (ok bool, err error) {
	j.step++
	if j.dry {
		j.planned = append(j.planned, what)
		return true, nil
	}
	j.news = nil
	if err = step(ctx); err == nil {
		for _, line := range j.news {
			j.logf("%s", line)
		}
	}
	return err == nil && !j.blocked, j.judge(ctx, what, err)
}

// judge decides what an error means. It is returned if the session is lost or
// the worker shall end; otherwise it is the problem of this policy, and the
// worker goes on.
func (j *job) judge(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil || j.conn.IsClosed() {
		return err
	}
	e := j.problemOf(what, err)
	if j.problem == nil {
		j.problem = e
	}
	return nil
}

// problemOf makes the report of an error. One that waiting helps against is of
// level LOG, all others are warnings.
func (j *job) problemOf(what string, err error) *elog.ErrorData {
	var e *elog.ErrorData
	if errors.As(err, &e) && e.Level == elog.Warning {
		return e
	}
	server := connect.AsErrorData(err, elog.Warning)
	e = elog.New(elog.Warning, server.Code, "could not %s: %s", what, server.Message).WithCause(err)
	e.Detail, e.Hint, e.Context = server.Detail, server.Hint, server.Context
	switch server.Code {
	case lockNotAvailable, elog.QueryCanceled, elog.DeadlockDetected, elog.SerializationFailure:
		j.blocked = true
		e.Level = elog.Log
		if e.Detail == "" {
			e.Detail = "It will be tried again soon."
		}
	}
	return e
}

// progress is the comment that says in pg_stat_activity how far the work on
// one table is.
func (j *job) progress() string {
	return fmt.Sprintf("/* retention: step %d of %d */ ", j.step, max(j.step, j.steps))
}
