package scanner

import (
	"bytes"
	"strings"
)

// MayConcern is the cheap test before [Scan], and false only if Scan would find
// neither a Command nor a Reference in sql, whatever the options. It allocates
// nothing.
func MayConcern(sql []byte) bool {
	return beginsCommand(sql) || mentions(sql) || laterCommand(sql)
}

// MayRefer is MayConcern for References alone. It may be asked of any bytes, such as
// several texts and what the protocol puts between them.
func MayRefer(sql []byte) bool { return mentions(sql) }

// laterCommand reports whether a command may follow on a semicolon. Those within
// quotes are not told from others, and comments are left to Scan: to look for their
// ends from every semicolon would take the square of the text's length.
func laterCommand(sql []byte) bool {
	for {
		n := bytes.IndexByte(sql, ';')
		if n < 0 {
			return false
		}
		begin, _ := skipSpaceOnly(sql, n+1)
		sql = sql[begin:]
		if len(sql) > 0 && (sql[0] == '-' || sql[0] == '/') || beginsCommand(sql) {
			return true
		}
	}
}

// commandWords are those that a Command begins with.
var commandWords = [...]string{"create", "drop", "alter", "load", "show", "set", "reset"}

// beginsCommand reports whether a text begins with the first word of a Command,
// after space and comments.
func beginsCommand(sql []byte) bool {
	if len(sql) > 0 && !isWordStart(sql[0]) {
		begin, _ := skipSpace(sql, 0)
		sql = sql[begin:]
	}
	for _, w := range commandWords {
		if hasPrefixFolded(sql, w) {
			return true
		}
	}
	return false
}

// hasPrefixFolded reports whether a text begins with a word of small letters and
// underscores, in any case.
func hasPrefixFolded(sql []byte, word string) bool {
	if len(sql) < len(word) {
		return false
	}
	for i := range len(word) {
		if c := sql[i]; c != word[i] && (c < 'A' || c > 'Z' || c+'a'-'A' != word[i]) {
			return false
		}
	}
	return true
}

// redirection is a name of which the host has its own.
type redirection struct {
	name     string
	function bool
}

// redirected are all of them: relations that are read, and functions that are called.
var redirected = [...]redirection{
	{"pg_stat_activity", false},
	{"pg_wait_events", false},
	{"pg_terminate_backend", true},
	{"pg_cancel_backend", true},
	{"pg_reload_conf", true},
}

// mentions reports whether one of the names is in a text, as a word or within one,
// whatever it stands for there.
func mentions(sql []byte) bool {
	for at := 0; ; {
		n := bytes.IndexByte(sql[at:], '_')
		if n < 0 {
			return false
		}
		if at += n; at >= 2 && sql[at-1]|0x20 == 'g' && sql[at-2]|0x20 == 'p' && beginsName(sql[at-2:]) {
			return true
		}
		at++
	}
}

// beginsName reports whether one of the names is the beginning of a text.
func beginsName(sql []byte) bool {
	for _, r := range redirected {
		if hasPrefixFolded(sql, r.name) {
			return true
		}
	}
	return false
}

// redirectionOf returns that of an unquoted word.
func redirectionOf(raw string) (redirection, bool) {
	if len(raw) > 2 && raw[2] == '_' {
		for _, r := range redirected {
			if strings.EqualFold(raw, r.name) {
				return r, true
			}
		}
	}
	return redirection{}, false
}
