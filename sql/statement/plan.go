package statement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
)

// The types here are what a block is told of extensions, as JSON.

// flaw is an error that the block raises when it comes to what has it.
type flaw struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
	Hint    string `json:"hint"`
}

func newFlaw(err error) *flaw {
	e := elog.AsErrorData(err, elog.Error)
	if e == nil {
		return nil
	}
	code := e.Code
	if code == "" {
		code = elog.InternalError
	}
	return &flaw{string(code), e.Message, e.Detail, e.Hint}
}

// step is a statement of a script.
type step struct {
	Line int    `json:"line"`
	Text string `json:"text"`
	Drop bool   `json:"drop,omitempty"`
	Flaw *flaw  `json:"flaw,omitempty"`
}

// script is a file.
type script struct {
	File       string `json:"file"`
	Own        bool   `json:"own"`
	Statements []step `json:"statements"`
}

// extension is one that is to be installed or dropped. One without scripts is the
// server's.
type extension struct {
	Name     string   `json:"name"`
	Version  string   `json:"version,omitempty"`
	Schema   string   `json:"schema,omitempty"`
	Requires []string `json:"requires"`
	Scripts  []script `json:"scripts,omitempty"`
	Flaw     *flaw    `json:"flaw,omitempty"`
}

// requirement is an extension that another asks for, or the one that the client
// does.
type requirement struct {
	Name   string `json:"name"`
	For    string `json:"for,omitempty"`
	Cyclic bool   `json:"cyclic,omitempty"`
	Flaw   *flaw  `json:"flaw,omitempty"`
}

func newScripts(parts ...[]sql.Script) []script {
	all := []script{}
	for _, part := range parts {
		for _, s := range part {
			one := script{File: s.File, Own: s.Own, Statements: []step{}}
			for _, t := range s.Statements {
				one.Statements = append(one.Statements, step{Line: t.Line, Text: t.Text, Drop: t.Drop, Flaw: newFlawOf(t.Flaw)})
			}
			all = append(all, one)
		}
	}
	return all
}

// newFlawOf keeps nil from becoming an error that is not nil.
func newFlawOf(e *elog.ErrorData) *flaw {
	if e == nil {
		return nil
	}
	return newFlaw(e)
}

// encode returns a plan as an SQL literal.
func (env Env) encode(plan any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(plan); err != nil {
		panic(err) // it consists of texts and numbers
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if !strings.EqualFold(env.ClientEncoding, "UTF8") {
		text = escaped(text)
	}
	return quote(text)
}

// escaped returns JSON in ASCII: the server makes characters of its own encoding of
// it, whatever that of the client is.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// closure is an extension with all that it needs.
type closure struct {
	Walk       []requirement // whoever asks comes before what it asks for
	Extensions []extension   // those that are asked for come first

	catalog sql.Catalog
	version string          // of the first; empty for its default
	path    []string        // from the first to the one at hand
	done    map[string]bool // what is in Extensions, or will be
}

// newClosure looks up what the installation of an extension may have to install.
func newClosure(catalog sql.Catalog, first *sql.Outline, version string) *closure {
	c := &closure{catalog: catalog, version: version, done: make(map[string]bool)}
	c.visit(first, "")
	return c
}

// visit enters an extension and what it needs.
func (c *closure) visit(o *sql.Outline, asker string) {
	c.done[o.Name] = true
	version := o.Version
	if asker == "" && c.version != "" {
		version = c.version
	}
	e, err := installation(o, version)
	c.Walk = append(c.Walk, requirement{Name: o.Name, For: asker, Flaw: newFlaw(err)})
	c.path = append(c.path, o.Name)
	for _, name := range o.Requires {
		c.require(name, o.Name)
	}
	c.path = c.path[:len(c.path)-1]
	c.Extensions = append(c.Extensions, e)
}

// require enters what an extension needs.
func (c *closure) require(name, asker string) {
	if c.done[name] {
		c.Walk = append(c.Walk, requirement{Name: name, For: asker, Cyclic: c.isOnPath(name)})
		return
	}
	o, err := c.catalog.Outline(name)
	if err == nil {
		c.visit(o, asker)
		return
	}
	c.done[name] = true
	r := requirement{Name: name, For: asker}
	if !errors.Is(err, sql.ErrNotAvailable) {
		r.Flaw = newFlaw(err)
	}
	c.Walk = append(c.Walk, r)
	c.Extensions = append(c.Extensions, extension{Name: name, Requires: []string{}})
}

func (c *closure) isOnPath(name string) bool {
	for _, p := range c.path {
		if p == name {
			return true
		}
	}
	return false
}

// installation is what installs a version of an extension.
func installation(o *sql.Outline, version string) (extension, error) {
	e := extension{Name: o.Name, Version: version, Schema: o.Schema, Requires: o.Requires}
	scripts, err := o.InstallScripts(version)
	if err != nil {
		return e, err
	}
	rights, err := o.RightsScripts()
	if err != nil {
		return e, err
	}
	e.Scripts = newScripts(scripts, rights)
	return e, nil
}
