package guc

import (
	"path/filepath"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Config is what configuration files say. Items of the command line may be
// added to Items, anywhere. The zero value says nothing.
type Config struct {
	File    string            // the main file
	Items   []Item            // in the order of the files, repetitions included
	Reports []*elog.ErrorData // what went wrong while reading, at LOG; also files skipped
	BadFile string            // a file that couldn't be read without error; empty if there is none
}

// The limits that keep a broken configuration from keeping the process busy.
const (
	maxSyntaxErrors = 100      // per file
	maxNesting      = 10       // of include directives
	maxFiles        = 1000     // in all
	maxFileSize     = 64 << 20 // bytes
)

// ParseFile reads a configuration file with all that it includes, then each of
// more if it exists, such as the file of ALTER SYSTEM; what comes later
// overrides what came before. It doesn't fail: problems are in the result.
// Mirrors the reading half of ProcessConfigFileInternal.
func ParseFile(path string, more ...string) Config {
	return parseFiles(osFiles{}, path, more...)
}

// ParseBytes parses text as a configuration file of that name, in a world that
// has no other file to include.
func ParseBytes(name string, text []byte) Config {
	return parseFiles(memoryFiles{filepath.Clean(name): string(text)}, name)
}

func parseFiles(files fileSystem, path string, more ...string) Config {
	p := parser{files: files, conf: Config{File: path}}
	if !p.file(include{name: path, must: true}) {
		p.conf.BadFile = path
	}
	for _, extra := range more {
		if !p.file(include{name: extra}) && p.conf.BadFile == "" {
			p.conf.BadFile = extra
		}
	}
	return p.conf
}

// parser collects what a tree of files says. Its methods report whether all
// went well.
type parser struct {
	files  fileSystem
	conf   Config
	opened int
}

func (p *parser) report(code elog.SQLState, format string, args ...any) {
	p.conf.Reports = append(p.conf.Reports, elog.New(elog.Log, code, format, args...))
}

// text parses the text of one file. Mirrors ParseConfigFp.
func (p *parser) text(file, text string, depth int) bool {
	ok, mistakes := true, 0
	lx := lexer{rest: text, line: 1}
	for {
		first := lx.next()
		if first.kind == tokenEOF {
			return ok
		}
		if first.kind == tokenEOL {
			continue
		}
		line := lx.line
		name, value, wrong := statement(&lx, first)
		if wrong == nil {
			if !p.obey(Item{Name: name, Value: value, File: file, Line: line, Source: SourceFile}, depth) {
				ok = false
			}
			continue
		}
		ok = false
		p.syntaxError(file, line, *wrong)
		if mistakes++; mistakes >= maxSyntaxErrors {
			p.report(elog.ProgramLimitExceeded, "too many syntax errors found, abandoning file \"%s\"", file)
			return false
		}
		for t := *wrong; !t.endsLine(); {
			t = lx.next()
		}
	}
}

// statement reads "name [=] value" up to the end of the line. wrong, if not
// nil, is the token that doesn't fit.
func statement(lx *lexer, first token) (name, value string, wrong *token) {
	if first.kind != tokenID && first.kind != tokenQualifiedID {
		return "", "", &first
	}
	t := lx.next()
	if t.kind == tokenEquals {
		t = lx.next()
	}
	if !t.isValue() {
		return "", "", &t
	}
	if value = t.text; t.kind == tokenString {
		value = unquote(value)
	}
	if end := lx.next(); !end.endsLine() {
		return "", "", &end
	}
	return first.text, value, nil
}

func (p *parser) syntaxError(file string, line int, wrong token) {
	if wrong.endsLine() {
		p.report(elog.SyntaxError, "syntax error in file \"%s\" line %d, near end of line", file, line)
	} else {
		text, _, _ := strings.Cut(wrong.text, "\x00") // the log is a text, and C would stop there
		p.report(elog.SyntaxError, "syntax error in file \"%s\" line %d, near token \"%s\"", file, line, text)
	}
}

// obey obeys an include directive and keeps anything else.
func (p *parser) obey(it Item, depth int) bool {
	in := include{name: it.Value, from: it.File, line: it.Line, depth: depth + 1}
	switch foldName(it.Name) {
	case "include_dir":
		return p.directory(in)
	case "include_if_exists":
		return p.file(in)
	case "include":
		in.must = true
		return p.file(in)
	}
	p.conf.Items = append(p.conf.Items, it)
	return true
}
