package statement

import (
	"embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

//go:embed block/*.sql
var blockFiles embed.FS

// blocks are the files, with those that they include, and without the comments.
var blocks = loadBlocks()

func loadBlocks() map[string]string {
	entries, err := blockFiles.ReadDir("block")
	if err != nil {
		panic(err) // the name is a constant
	}
	all := make(map[string]string)
	var parts []string
	for _, e := range entries {
		text, err := blockFiles.ReadFile("block/" + e.Name())
		if err != nil {
			panic(err)
		}
		name := strings.TrimSuffix(e.Name(), ".sql")
		all[name] = withoutComments(string(text))
		parts = append(parts, "@"+name+"@\n", all[name])
	}
	includes := strings.NewReplacer(parts...)
	for name, text := range all {
		all[name] = includes.Replace(text)
	}
	return all
}

// withoutComments leaves out the lines that are comments.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// values are what to put in the places of the names of a block, as SQL writes it.
type values map[string]string

// block returns the DO statement of a file.
func (env Env) block(name string, v values) string {
	v["marker"], v["nonce"] = quote(markerPrefix+env.Nonce), quote(env.Nonce)
	pairs := make([]string, 0, 2*len(v))
	for key, value := range v {
		pairs = append(pairs, "@"+key+"@", value)
	}
	return do(strings.NewReplacer(pairs...).Replace(blocks[name]))
}

// do returns the statement that runs a block of PL/pgSQL.
func do(body string) string { return "DO LANGUAGE plpgsql " + quote("\n"+body) }

// raise returns the statement that raises an error.
func (env Env) raise(err error) string {
	return do("BEGIN\n" + env.raiseStatement(err) + "\nEND")
}

// raiseStatement is that of PL/pgSQL.
func (env Env) raiseStatement(err error) string {
	e := elog.AsErrorData(err, elog.Error)
	code := e.Code
	if code == "" {
		code = elog.InternalError
	}
	text := fmt.Sprintf("RAISE EXCEPTION USING ERRCODE = %s, MESSAGE = %s, CONSTRAINT = %s", quote(string(code)), quote(e.Message), quote(markerPrefix+env.Nonce))
	if e.Detail != "" {
		text += ", DETAIL = " + quote(e.Detail)
	}
	if e.Hint != "" {
		text += ", HINT = " + quote(e.Hint)
	}
	return text + ";"
}

// quote returns a text as an SQL literal that means the same whatever
// standard_conforming_strings and backslash_quote are. Nothing in the text begins
// with the tag, so that no part of it can end the literal.
func quote(text string) string {
	const base = "$pgexthost"
	tag := base
	for rest := text; ; {
		_, after, found := strings.Cut(rest, base)
		if !found {
			return tag + "$" + text + tag + "$"
		}
		rest = strings.TrimLeft(after, "_")
		if longer := base + after[:len(after)-len(rest)] + "_"; len(longer) > len(tag) {
			tag = longer
		}
	}
}

// quoteOrNull returns NULL for what is empty.
func quoteOrNull(text string) string {
	if text == "" {
		return "NULL"
	}
	return quote(text)
}

func boolean(b bool) string { return strconv.FormatBool(b) }
