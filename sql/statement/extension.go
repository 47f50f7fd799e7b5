package statement

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pgexthost/pgexthost/sql"
	"github.com/pgexthost/pgexthost/sql/scanner"
)

// advisoryLock is what operations on extensions hold, as two arguments.
var advisoryLock = fmt.Sprintf("%d, %d", sql.LockClass, sql.ExtensionLock)

// find looks an extension up. Both results are nil if the host does not have it.
func (env Env) find(name string) (sql.Catalog, *sql.Outline, error) {
	if env.Catalog == nil {
		return sql.Catalog{}, nil, nil
	}
	catalog, err := env.Catalog()
	if err != nil {
		return sql.Catalog{}, nil, err
	}
	if !sql.ValidExtensionName(name) { // in the server's words
		return sql.Catalog{}, nil, nil
	}
	o, err := catalog.Outline(name)
	if errors.Is(err, sql.ErrNotAvailable) {
		return sql.Catalog{}, nil, nil
	}
	return catalog, o, err
}

// createExtension answers CREATE EXTENSION. One that the host and the server both
// have is the host's.
func (env Env) createExtension(cmd scanner.CreateExtension) (string, bool) {
	catalog, o, err := env.find(cmd.Name)
	switch {
	case err != nil:
		return env.raise(err), true
	case o == nil:
		return "", false
	}
	c := newClosure(catalog, o, cmd.Version)
	plan := struct {
		Name        string        `json:"name"`
		Schema      string        `json:"schema,omitempty"`
		IfNotExists bool          `json:"if_not_exists"`
		Cascade     bool          `json:"cascade"`
		Flaw        *flaw         `json:"flaw,omitempty"`
		Walk        []requirement `json:"walk"`
		Extensions  []extension   `json:"extensions"`
	}{o.Name, o.Schema, cmd.IfNotExists, cmd.Cascade, c.Walk[0].Flaw, c.Walk, c.Extensions}
	return env.extensionBlock("create", "CREATE EXTENSION", plan, values{
		"schema": quoteOrNull(cmd.Schema), "role": quoteOrNull(env.HostRole),
	}), true
}

// updateExtension answers ALTER EXTENSION … UPDATE. Whose the installed one is, the
// block finds out.
func (env Env) updateExtension(cmd scanner.AlterExtensionUpdate) (string, bool) {
	_, o, err := env.find(cmd.Name)
	switch {
	case err != nil:
		return env.raise(err), true
	case o == nil:
		return "", false
	}
	to := cmd.To
	if to == "" {
		to = o.Version
	}
	paths, err := o.UpdateScripts(to)
	rights, rightsErr := o.RightsScripts()
	if err == nil {
		err = rightsErr
	}
	plan := struct {
		Name     string              `json:"name"`
		Version  string              `json:"version"`
		Requires []string            `json:"requires"`
		Flaw     *flaw               `json:"flaw,omitempty"`
		Paths    map[string][]script `json:"paths"`
		Rights   []script            `json:"rights"`
	}{o.Name, to, o.Requires, newFlaw(err), make(map[string][]script), newScripts(rights)}
	for from, scripts := range paths {
		plan.Paths[from] = newScripts(scripts)
	}
	return env.extensionBlock("update", "ALTER EXTENSION", plan, values{"version": quoteOrNull(cmd.To)}), true
}

// dropExtension answers DROP EXTENSION if one of the names is the host's to
// install. Which of them are, the block finds out, and does what the server would
// do for the others as well.
func (env Env) dropExtension(cmd scanner.DropExtension) (string, bool) {
	var catalog sql.Catalog
	var wanted []string
	for _, name := range cmd.Names {
		c, o, err := env.find(name)
		if err != nil {
			return env.raise(err), true
		}
		if o != nil {
			catalog, wanted = c, append(wanted, name)
		}
	}
	if wanted == nil {
		return "", false
	}
	if cmd.Cascade { // to whichever of them needs one of these
		all, err := catalog.Available()
		if err != nil {
			return env.raise(err), true
		}
		for _, a := range all {
			wanted = append(wanted, a.Name)
		}
	}
	plan := struct {
		IfExists   bool                 `json:"if_exists"`
		Cascade    bool                 `json:"cascade"`
		Extensions map[string]extension `json:"extensions"`
	}{cmd.IfExists, cmd.Cascade, make(map[string]extension)}
	for _, name := range wanted {
		plan.Extensions[name] = removal(catalog, name)
	}
	names := make([]string, len(cmd.Names))
	for i, name := range cmd.Names {
		names[i] = quote(name)
	}
	return env.extensionBlock("drop", "DROP EXTENSION", plan, values{
		"names": "ARRAY[" + strings.Join(names, ", ") + "]::pg_catalog.text[]",
	}), true
}

// removal is what drops an extension.
func removal(catalog sql.Catalog, name string) extension {
	o, err := catalog.Outline(name)
	if err != nil {
		return extension{Name: name, Requires: []string{}, Flaw: newFlaw(err)}
	}
	e := extension{Name: name, Requires: o.Requires}
	scripts, err := o.DropScripts()
	if err != nil {
		e.Flaw = newFlaw(err)
		return e
	}
	e.Scripts = newScripts(scripts)
	return e
}

func (env Env) extensionBlock(name, tag string, plan any, v values) string {
	v["plan"], v["tag"], v["lock"] = env.encode(plan), tag, advisoryLock
	return env.block(name, v)
}
