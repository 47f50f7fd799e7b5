package scanner

import "bytes"

// MayConcern is the cheap test before [Scan], and false only if Scan would find
// neither a Command nor a Reference in sql, whatever the options. It allocates
// nothing.
func MayConcern(sql []byte) bool {
	begin, closed := skipSpace(sql, 0)
	return closed && beginsCommand(sql[begin:]) || mentions(sql) || laterCommand(sql)
}

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
var commandWords = [...][]byte{
	[]byte("create"), []byte("drop"), []byte("alter"), []byte("load"), []byte("show"), []byte("set"), []byte("reset"),
}

// beginsCommand reports whether a text begins with the first word of a Command.
func beginsCommand(sql []byte) bool {
	if len(sql) == 0 || bytes.IndexByte([]byte("cdalsr"), sql[0]|0x20) < 0 {
		return false
	}
	for _, w := range commandWords {
		if len(sql) >= len(w) && bytes.EqualFold(sql[:len(w)], w) {
			return true
		}
	}
	return false
}

// redirected are the names of relations and functions that the host has its own of.
var redirected = [...]struct {
	name     string
	function bool
}{
	{"pg_stat_activity", false},
	{"pg_wait_events", false},
	{"pg_terminate_backend", true},
	{"pg_cancel_backend", true},
	{"pg_reload_conf", true},
}

// mentions reports whether one of the names is in a text, as a word or within one,
// whatever it stands for there.
func mentions[T string | []byte](sql T) bool {
	for i := 2; i+1 < len(sql); i++ {
		if sql[i] != '_' || sql[i-1]|0x20 != 'g' || sql[i-2]|0x20 != 'p' {
			continue
		}
		for _, r := range redirected {
			if hasFolded(sql[i-2:], r.name) {
				return true
			}
		}
	}
	return false
}

// hasFolded reports whether a text begins with a name of small letters and
// underscores, in any case.
func hasFolded[T string | []byte](sql T, name string) bool {
	if len(sql) < len(name) {
		return false
	}
	for i := range len(name) {
		if c := sql[i]; c != name[i] && (c < 'A' || c > 'Z' || c+'a'-'A' != name[i]) {
			return false
		}
	}
	return true
}
