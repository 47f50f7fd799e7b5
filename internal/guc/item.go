package guc

import (
	"fmt"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Item is one setting as somebody wrote it: a name and a text, neither of them
// checked yet, and where they were written. Mirrors ConfigVariable.
//
// The texts are the bytes of the file, which needn't be UTF-8: an encoding that
// insists on UTF-8, such as JSON, may change them.
type Item struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	File   string `json:"file,omitempty"` // for SourceFile
	Line   int    `json:"line,omitempty"` // for SourceFile, from 1
	Source Source `json:"source"`
}

// ParseOption reads the argument of -c: name=value. Dashes in the name stand
// for underscores. Whether the name exists is for the store to say. The error,
// if any, is an *elog.ErrorData of level FATAL. Mirrors ParseLongOption.
func ParseOption(arg string) (Item, error) {
	name, value, found := strings.Cut(arg, "=")
	if !found {
		return Item{}, elog.New(elog.Fatal, elog.SyntaxError, "-c %s requires a value", arg)
	}
	return Item{Name: strings.ReplaceAll(name, "-", "_"), Value: value, Source: SourceCommandLine}, nil
}

// place says where the item was written, for the CONTEXT of a report.
func (it Item) place() string {
	if it.Source != SourceFile || it.File == "" {
		return ""
	}
	return fmt.Sprintf("line %d of configuration file \"%s\"", it.Line, it.File)
}

// at makes a report say where the item it is about was written.
func (it Item) at(e *elog.ErrorData) *elog.ErrorData {
	e.Context = it.place()
	return e
}
