package queue

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// handlerOf returns the handler for jobs of a kind. Without one the job fails
// like any other, and is tried again: an executable that knows the kind may be
// on its way.
func (l *library) handlerOf(kind string) Handler {
	if h, ok := l.handlers[kind]; ok {
		return h
	}
	schema, function, ok := strings.Cut(kind, ".")
	if ok && slices.Contains(l.schemas(), schema) {
		return callFunction(schema, function)
	}
	return func(context.Context, pgx.Tx, Job) error {
		return elog.New(elog.Error, elog.UndefinedFunction, "there is no handler for jobs of kind \"%s\"", kind).
			WithHint("A kind is what a handler was registered for, or schema.function with a schema of \"queue.function_schemas\".")
	}
}

// callFunction is the handler of jobs that are functions of the database. Such
// a function gets the payload, as jsonb; its result does not matter. The names
// are meant exactly as they are written: no case is folded, nothing unquoted.
func callFunction(schema, function string) Handler {
	call := "SELECT " + pgx.Identifier{schema, function}.Sanitize() + "($1::jsonb)"
	return func(ctx context.Context, tx pgx.Tx, job Job) error {
		_, err := tx.Exec(ctx, call, job.Payload)
		return err
	}
}

// schemas returns the value of queue.function_schemas.
func (l *library) schemas() []string {
	list, _ := splitSchemas(l.functionSchemas()) // checkSchemas has refused all others
	return list
}

func splitSchemas(list string) ([]string, error) {
	return plugins.SplitLibraries(list, "queue.function_schemas")
}

// checkSchemas is the check hook of queue.function_schemas.
func checkSchemas(list string) error {
	_, err := splitSchemas(list)
	return err
}
