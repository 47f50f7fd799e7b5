package statement

import (
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql/scanner"
)

// lookup finds a setting of the host's.
func (env Env) lookup(name string) (guc.Setting, bool) {
	if env.Settings == nil || name == "" {
		return guc.Setting{}, false
	}
	s, ok := env.Settings.Lookup(name)
	return s, ok && !s.Placeholder
}

// set answers SET and RESET. What a session may change is kept by the server, as a
// placeholder, in the form in which SHOW has to print it. Mirrors ExecSetVariableStmt
// and set_config_option.
func (env Env) set(cmd scanner.Set, tag string) (string, bool) {
	s, ok := env.lookup(cmd.Name)
	if !ok {
		return env.refuseName(cmd.Name)
	}
	text, refusal := flatten(s.Definition, cmd.Name, cmd.Values)
	if refusal == nil {
		refusal = refuseContext(s.Definition.Context, cmd.Name)
	}
	if refusal != nil {
		return env.raise(refusal), true
	}
	shown := text
	var err error
	if !cmd.ToDefault {
		if s.Value, err = guc.Parse(s.Definition, text); err == nil {
			shown = s.Show()
		}
	}
	switch {
	case s.Definition.Context == guc.Suset:
		return env.setAllowed(cmd, tag, shown, err), true
	case err != nil:
		return env.raise(err), true
	case shown == text:
		return "", false
	}
	scope := "SESSION"
	if cmd.Local {
		scope = "LOCAL"
	}
	return "SET " + scope + " " + quoteName(cmd.Name) + " = " + quote(shown), true
}

// refuseName raises the error about a name that a library of the host's would have
// defined, if it had such a setting. All other names are the server's.
func (env Env) refuseName(name string) (string, bool) {
	if env.Settings == nil || name == "" {
		return "", false
	}
	if e := env.Settings.RefuseName(name); e != nil {
		return env.raise(e), true
	}
	return "", false
}

// setAllowed sets or resets what only some roles may. Who may is known when it runs,
// and said before what is wrong with the value.
func (env Env) setAllowed(cmd scanner.Set, tag, shown string, err error) string {
	value := quote(shown)
	if cmd.ToDefault {
		value = "NULL"
	}
	refusal := ""
	if err != nil {
		refusal = env.raiseStatement(err)
	}
	warning := ""
	if cmd.Local && !env.InTransaction {
		warning = "RAISE WARNING USING ERRCODE = 'no_active_sql_transaction', MESSAGE = 'SET LOCAL can only be used in transaction blocks', CONSTRAINT = " + quote(markerPrefix+env.Nonce) + ";"
	}
	return env.block("set", values{
		"name": quote(cmd.Name), "value": value, "local": boolean(cmd.Local), "tag": tag, "refusal": refusal, "warning": warning, "denied": denied(cmd.Name),
	})
}

// denied is the message about a setting that the role may not change.
func denied(name string) string { return quote("permission denied to set parameter \"" + name + "\"") }

// refuseContext says why a session can't change a setting, or returns nil.
func refuseContext(c guc.Context, name string) *elog.ErrorData {
	message := ""
	switch c {
	case guc.Internal:
		message = "parameter \"%s\" cannot be changed"
	case guc.Postmaster:
		message = "parameter \"%s\" cannot be changed without restarting the server"
	case guc.Sighup:
		message = "parameter \"%s\" cannot be changed now"
	case guc.Backend, guc.SuperuserBackend:
		message = "parameter \"%s\" cannot be set after connection start"
	case guc.Suset, guc.User:
		return nil
	}
	return elog.New(elog.Error, elog.CantChangeRuntimeParam, message, name)
}

// flatten makes one text of the values of a SET. Mirrors flatten_set_variable_args.
func flatten(d guc.Definition, name string, texts []string) (string, *elog.ErrorData) {
	if len(texts) > 1 && d.Flags&guc.FlagListInput == 0 {
		return "", elog.New(elog.Error, elog.InvalidParameterValue, "SET %s takes only one argument", name)
	}
	return strings.Join(texts, ", "), nil
}

// alterSystem answers ALTER SYSTEM of a library's setting. One without a dot is the
// server's, which has its own of the names that the host has as well.
// Mirrors AlterSystemSetConfigFile.
func (env Env) alterSystem(cmd scanner.AlterSystem) (string, bool) {
	s, ok := env.lookup(cmd.Name)
	if !ok && !cmd.Reset {
		return env.refuseName(cmd.Name) // to reset it may have to be removed from the server's file
	} else if !ok || !strings.Contains(cmd.Name, ".") {
		return "", false
	}
	if env.InTransaction {
		return env.raise(elog.New(elog.Error, activeTransaction, "ALTER SYSTEM cannot run inside a transaction block")), true
	}
	alteration, value, refusal := guc.Alteration{Name: cmd.Name}, "NULL", ""
	if !cmd.Reset && !cmd.ToDefault {
		text, e := flatten(s.Definition, cmd.Name, cmd.Values)
		if e != nil {
			return env.raise(e), true
		}
		alteration.Value, value = &text, quote(text)
	}
	if err := env.Settings.CheckAlteration(alteration); err != nil {
		refusal = env.raiseStatement(err)
	}
	return env.block("altersystem", values{
		"name": quote(cmd.Name), "value": value, "refusal": refusal, "denied": denied(cmd.Name),
		"absent": quote("parameter \"" + cmd.Name + "\" of the extension host cannot be changed in a database without schema pgexthost"),
	}), true
}

const activeTransaction elog.SQLState = "25001"

// quoteName returns a dotted name as SQL writes it.
func quoteName(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(parts, ".")
}
