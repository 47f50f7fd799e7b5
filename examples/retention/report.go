package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// record writes a row of retention.log, in the transaction of what it tells of,
// and has the host's log told once that is committed.
func (j *job) record(ctx context.Context, tx statements, partition, action, detail string) error {
	line := fmt.Sprintf("retention: partition \"%s\" of table \"%s\": %s", partition, j.policy, action)
	if detail != "" {
		line += " (" + detail + ")"
	}
	j.news = append(j.news, line)
	return j.writeLog(ctx, tx, partition, action, detail)
}

func (j *job) writeLog(ctx context.Context, tx statements, partition, action, detail string) error {
	_, err := tx.exec(ctx, "INSERT INTO retention.log (parent, partition, action, detail) VALUES ($1, nullif($2, ''), $3, nullif($4, ''))",
		j.policy.String(), partition, action, detail)
	return err
}

// status is a row of retention.status, as it was before this round.
type status struct {
	SQLState, Problem, Detail string
	Planned                   []string
}

// writeStatus says how the round went: in retention.status each time, in both
// logs when something is different from the last time.
func (j *job) writeStatus(ctx context.Context) error {
	before, err := structs[status](ctx, j.statements,
		"SELECT coalesce(sqlstate, ''), coalesce(problem, ''), coalesce(detail, ''), planned FROM retention.status WHERE parent = $1", j.policy.Parent)
	if err != nil {
		return err
	}
	var was status
	if len(before) > 0 {
		was = before[0]
	}
	e := j.problem
	if e == nil {
		e = &elog.ErrorData{}
	}
	isNew := string(e.Code) != was.SQLState || e.Message != was.Problem || e.Detail != was.Detail
	if planned := strings.Join(j.planned, "; "); isNew || planned != strings.Join(was.Planned, "; ") {
		j.tell(was, isNew)
	}
	return j.transaction(ctx, func(ctx context.Context, tx statements) error {
		// Not for a policy that was deleted meanwhile.
		_, err := tx.exec(ctx, `
			INSERT INTO retention.status AS s (parent, last_round, last_success, sqlstate, problem, detail, hint, problem_since, rows_in_default, planned)
			SELECT parent, now(), CASE WHEN $2 = '' THEN now() END, nullif($2, ''), nullif($3, ''), nullif($4, ''), nullif($5, ''),
				CASE WHEN $2 <> '' THEN now() END, $6::boolean, coalesce($7::text[], '{}')
			FROM retention.policy WHERE parent = $1 FOR KEY SHARE
			ON CONFLICT (parent) DO UPDATE SET last_round = excluded.last_round,
				last_success = coalesce(excluded.last_success, s.last_success),
				sqlstate = excluded.sqlstate, problem = excluded.problem, detail = excluded.detail, hint = excluded.hint,
				problem_since = CASE WHEN excluded.problem IS NOT NULL THEN coalesce(s.problem_since, excluded.problem_since) END,
				rows_in_default = excluded.rows_in_default, planned = excluded.planned`,
			j.policy.Parent, string(e.Code), e.Message, e.Detail, e.Hint, j.inDefault, j.planned)
		if err != nil || !isNew || e.Message == "" && was.Problem == "" {
			return err
		}
		if e.Message == "" {
			return j.writeLog(ctx, tx, "", "solved", was.Problem)
		}
		return j.writeLog(ctx, tx, "", "problem", e.Error())
	})
}

// tell writes what is new to the host's log.
func (j *job) tell(was status, isNew bool) {
	switch {
	case isNew && j.problem != nil:
		j.report(j.problem)
	case isNew && was.Problem != "":
		j.logf("retention: table \"%s\" has no problem any more", j.policy)
	}
	for _, what := range j.planned {
		j.logf("retention: dry run: would %s", what)
	}
}
