package sql

import (
	"errors"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Outline is what a catalog has of one extension, for those who run its scripts in
// a session in which they can't look things up first: subpackage statement. The
// files were read when it was made; it never changes.
type Outline struct {
	Name     string
	Version  string   // the one to install or upgrade to; empty if there is no script
	Schema   string   // where it has to be, or empty
	Requires []string // SchemaExtension is among those of all others

	extension *extension
}

// Script is a file of an extension, split into statements.
type Script struct {
	File       string // as messages name it
	Own        bool   // part of the program, and run with its search_path
	Statements []ScriptStatement
}

// ScriptStatement is one of a script. Text still has @extschema@ and its like.
type ScriptStatement struct {
	Line int // of its first word, from 1
	Text string
	Flaw *elog.ErrorData // why it must not be run, or nil
	Drop bool            // it is a DROP to which CASCADE may be added
}

// ErrNotAvailable is the cause of the error of [Catalog.Outline] for an extension
// that the catalog does not have.
var ErrNotAvailable = errors.New("no such extension")

// Outline returns what the catalog has of an extension. Errors are *elog.ErrorData,
// those of [Catalog.Version]; one with the cause ErrNotAvailable is for names that
// the catalog does not have.
func (c Catalog) Outline(name string) (*Outline, error) {
	e, err := c.find(name)
	if err != nil {
		return nil, err
	}
	o := &Outline{Name: name, Version: e.version(), Schema: e.control.schema, Requires: e.requires(), extension: e}
	if name == SchemaExtension {
		o.Schema = SchemaExtension
	}
	return o, nil
}

// InstallScripts returns the scripts that install a version, in order. Errors are
// *elog.ErrorData: 22023 if that is no version, or none lead there; what reading
// them gives.
func (o *Outline) InstallScripts(version string) ([]Script, error) {
	path, err := o.extension.installPathTo(version)
	if err != nil {
		return nil, err
	}
	return o.extension.split(path)
}

// UpdateScripts returns, for each version from which scripts lead to another, those
// in order. Errors are as those of [Outline.InstallScripts].
func (o *Outline) UpdateScripts(to string) (map[string][]Script, error) {
	if e := checkVersionName(to); e != nil {
		return nil, e
	}
	all := make(map[string][]Script)
	for _, s := range o.extension.scripts {
		from := s.from
		if _, known := all[from]; known || from == "" || from == to {
			continue
		}
		path := o.extension.path(from, to)
		if path == nil {
			continue
		}
		scripts, err := o.extension.split(path)
		if err != nil {
			return nil, err
		}
		all[from] = scripts
	}
	return all, nil
}

// RightsScripts returns what gives the roles their rights in schema pgexthost, once
// it has been installed or upgraded; nothing for other extensions.
func (o *Outline) RightsScripts() ([]Script, error) {
	if o.Name != SchemaExtension || !o.extension.source.has(rightsFile) {
		return nil, nil
	}
	return o.extension.split([]script{{file: rightsFile, name: o.Name}})
}

// DropScripts returns what drops the extension. Errors are *elog.ErrorData: 0A000
// if there is no script for it.
func (o *Outline) DropScripts() ([]Script, error) {
	file, err := o.extension.dropFile()
	if err != nil {
		return nil, err
	}
	return o.extension.split([]script{{file: file, name: o.Name}})
}

// split reads scripts and splits them into statements.
func (e *extension) split(path []script) ([]Script, error) {
	var all []Script
	for _, s := range path {
		text, err := e.source.read(s.file)
		if err != nil {
			return nil, err
		}
		one := Script{File: e.source.path(s.file), Own: e.source.own()}
		for _, s := range statements(echoLine.ReplaceAllString(text, "")) {
			one.Statements = append(one.Statements, ScriptStatement{Line: s.line, Text: s.text, Flaw: e.flaw(s), Drop: s.drops()})
		}
		all = append(all, one)
	}
	return all, nil
}

// flaw says why a statement of a script must not be run.
func (e *extension) flaw(s statement) *elog.ErrorData {
	if flaw := s.flaw(); flaw != nil {
		return flaw
	}
	for _, match := range requiredSchema.FindAllStringSubmatch(s.text, -1) {
		if !slices.Contains(e.requires(), match[1]) {
			return e.notRequired(match[1], match[0])
		}
	}
	return nil
}

// drops reports whether the statement is a DROP that does not say whether what
// depends on the objects is to be dropped, too.
func (s statement) drops() bool {
	l := lexer{script: s.text}
	var first, last string
	for l.at < len(l.script) {
		switch c := l.script[l.at]; {
		case isWordStart(c):
			last = l.wordOrString()
			if first == "" {
				first = last
			}
		case l.quoted():
			last = ""
		case l.comment():
		default:
			if strings.IndexByte(" \t\r\n\f\v", c) < 0 {
				last = ""
			}
			l.at++
		}
	}
	return first == "DROP" && last != "CASCADE" && last != "RESTRICT"
}
