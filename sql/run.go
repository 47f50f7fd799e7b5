package sql

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// place is what scripts are told of where they run.
type place struct {
	schema, owner string            // as SQL writes them
	schemas       map[string]string // of the extensions that are required
	path          string            // search_path
}

// run runs scripts of an extension in a schema, one after the other, and puts the
// settings of the transaction back. Mirrors execute_extension_script.
func (t transaction) run(ctx context.Context, e *extension, path []script, schema string) error {
	if len(path) == 0 {
		return nil
	}
	p, err := t.place(ctx, e, schema)
	if err != nil {
		return err
	}
	for _, s := range path {
		text, err := e.source.read(s.file)
		if err != nil {
			return err
		}
		if text, err = p.substitute(e, text); err != nil {
			return err
		}
		if !e.source.own() {
			if err := t.exec(ctx, "SET LOCAL check_function_bodies = off; SET LOCAL client_min_messages = warning; SET LOCAL search_path = "+p.path); err != nil {
				return err
			}
		}
		if err := t.runScript(ctx, e.source.path(s.file), text); err != nil {
			return err
		}
	}
	return t.exec(ctx, ownSettings)
}

// runScript runs the statements of a script. An error says where they are: that of
// the server's where it gives a position, else of the statement. Mirrors
// execute_sql_string and script_error_callback.
func (t transaction) runScript(ctx context.Context, file, text string) error {
	for _, s := range statements(text) {
		err := t.runStatement(ctx, s)
		if err == nil {
			continue
		}
		report := connect.AsErrorData(err, elog.Error)
		line := s.line
		var server *pgconn.PgError
		if errors.As(err, &server) {
			line = s.lineOf(server.Position)
		}
		where := elog.New(elog.Error, "", "extension script file \"%s\", near line %d", file, line).Message
		if report.Context != "" {
			where = report.Context + "\n" + where
		}
		report.Context = where
		return report
	}
	return nil
}

// runStatement runs what is one statement for the server as well: of several, one
// could be a COMMIT.
func (t transaction) runStatement(ctx context.Context, s statement) error {
	if flaw := s.flaw(); flaw != nil {
		return flaw
	}
	return t.tx.Conn().PgConn().ExecParams(ctx, s.text, nil, nil, nil, nil).Read().Err
}

// flaw says why a statement can be none of a script, or returns nil.
func (s statement) flaw() *elog.ErrorData {
	switch {
	case s.controlsTransaction():
		return elog.New(elog.Error, elog.FeatureNotSupported, "transaction control statements are not allowed within an extension script")
	case s.copiesFromClient():
		return elog.New(elog.Error, elog.FeatureNotSupported, "COPY FROM STDIN and COPY TO STDOUT are not supported within an extension script").
			WithHint("Use INSERT.")
	}
	return nil
}

// place finds out what scripts of the extension are told.
func (t transaction) place(ctx context.Context, e *extension, schema string) (place, error) {
	p := place{schemas: make(map[string]string), path: "pg_catalog, pg_temp"}
	var exists bool
	err := t.tx.QueryRow(ctx, "SELECT quote_ident($1), quote_ident(current_user), to_regnamespace(quote_ident($1)) IS NOT NULL", schema).
		Scan(&p.schema, &p.owner, &exists)
	if err != nil || e.name == SchemaExtension {
		return p, err
	}
	if !exists {
		return p, elog.New(elog.Error, invalidSchemaName, "schema \"%s\" does not exist", schema).
			WithHint("Create it in the database first.")
	}
	p.path = p.schema
	for _, name := range e.requires() {
		schema, err := t.schemaOf(ctx, name)
		if err != nil {
			return p, err
		}
		if p.schemas[name] = schema; schema != "pg_catalog" && name != SchemaExtension {
			p.path += ", " + schema
		}
	}
	p.path += ", pg_temp"
	return p, nil
}

// schemaOf returns the schema of an extension that is required, as SQL writes it:
// one of ours, or else one of the server's.
func (t transaction) schemaOf(ctx context.Context, name string) (string, error) {
	var schema *string
	err := t.tx.QueryRow(ctx, `SELECT quote_ident(coalesce((SELECT schema FROM pgexthost.extension WHERE name = $1),
		(SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1)))`, name).Scan(&schema)
	switch {
	case err != nil:
		return "", err
	case schema == nil:
		return "", missingRequirement(name)
	}
	return *schema, nil
}

var (
	// What psql would make of the file: a line that keeps people from doing so.
	echoLine        = regexp.MustCompile(`(?m)^\\echo.*$`)
	requiredSchema  = regexp.MustCompile(`@extschema:([^@\n]+)@`)
	quotingRelevant = "\"$'\\"
)

// substitute puts the place into a script: @extschema@, @extschema:NAME@ and
// @extowner@.
func (p place) substitute(e *extension, text string) (string, error) {
	text = echoLine.ReplaceAllString(text, "")
	var flaw error
	put := func(old, value, what string) {
		if !strings.Contains(text, old) {
			return
		}
		if strings.ContainsAny(strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`), quotingRelevant) {
			flaw = elog.New(elog.Error, elog.InvalidParameterValue, "invalid character in extension %s: must not contain any of \"%s\"", what, quotingRelevant)
		}
		text = strings.ReplaceAll(text, old, value)
	}
	put("@extschema@", p.schema, "\""+e.name+"\" schema")
	put("@extowner@", p.owner, "owner")
	for _, match := range requiredSchema.FindAllStringSubmatch(text, -1) {
		schema, ok := p.schemas[match[1]]
		if !ok {
			return "", e.notRequired(match[1], match[0])
		}
		put(match[0], schema, "\""+match[1]+"\" schema")
	}
	return text, flaw
}

// notRequired refuses a script that asks for the schema of an extension that the
// control file does not name.
func (e *extension) notRequired(name, mark string) *elog.ErrorData {
	return elog.New(elog.Error, elog.InvalidParameterValue, "extension \"%s\" is not required by \"%s\"", name, e.name).
		WithDetail("A script asks for its schema with \"%s\".", mark)
}
