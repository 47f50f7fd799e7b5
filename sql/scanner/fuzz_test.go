package scanner

import (
	"strings"
	"testing"
)

// options are those that four bits stand for.
func options(bits uint8) Options {
	encodings := [...]string{"UTF8", "LATIN1", "SQL_ASCII", "EUC_JP"}
	return Options{StandardConformingStrings: bits&1 == 0, ClientEncoding: encodings[bits>>1&3]}
}

// FuzzScan looks for texts whose statements and references are not where texts,
// statements and references can be.
func FuzzScan(f *testing.F) {
	for _, c := range commands {
		f.Add(c.sql, uint8(0))
	}
	for _, sql := range []string{
		hot,
		"WITH a AS (SELECT * FROM pg_stat_activity) SELECT pg_catalog.pg_stat_activity.pid FROM a, pg_catalog . pg_stat_activity JOIN b USING (c); SHOW a.b",
		"CREATE FUNCTION f() BEGIN ATOMIC; SELECT CASE END; END; /* $a$ ' \" */ SELECT $a$;$a$, E'\\'', U&\"a\" UESCAPE '!'",
		"DELETE FROM t USING pg_wait_events WHERE pg_terminate_backend(1); EXPLAIN (ANALYZE) (TABLE pg_stat_activity)",
		"SELECT 1 +-/* */ -2 :: x .. := 1e5 0x1_f $1 [1]",
	} {
		f.Add(sql, uint8(0))
		f.Add(sql, uint8(3))
	}
	f.Fuzz(func(t *testing.T, sql string, bits uint8) {
		o := options(bits)
		at, concerns := 0, false
		for _, s := range Scan(sql, o) {
			if s.Start < at || s.End <= s.Start || s.End > len(sql) {
				t.Fatalf("%q: statement %+v after %d", sql, s, at)
			}
			if between := strings.Trim(sql[at:s.Start], "; \t\n\r\v\f"); between != "" && !strings.HasPrefix(between, "--") && !strings.HasPrefix(between, "/*") {
				t.Fatalf("%q: %q is in no statement", sql, between)
			}
			at = s.Start
			for _, r := range s.References {
				name := strings.ToLower(sql[r.Start:r.End])
				if r.Start < at || r.End > s.End || !strings.HasSuffix(name, r.Name) || name != r.Name && !strings.HasPrefix(name, "pg_catalog") {
					t.Fatalf("%q: reference %+v after %d", sql, r, at)
				}
				at = r.End
			}
			if (s.Unterminated || s.Command != nil) && s.References != nil || s.Unterminated && s.Command != nil {
				t.Fatalf("%q: %+v", sql, s)
			}
			at, concerns = s.End, concerns || s.Command != nil || s.References != nil
			again := Scan(sql[s.Start:s.End], o)
			if !s.Unterminated && (len(again) != 1 || again[0].Start != 0 || again[0].End != s.End-s.Start || len(again[0].References) != len(s.References)) {
				t.Fatalf("%q by itself: %+v", sql[s.Start:s.End], again)
			}
		}
		if concerns && !MayConcern([]byte(sql)) {
			t.Fatalf("%q concerns the host", sql)
		}
	})
}

// FuzzRewrite looks for edits that are not where they should be, and positions that
// do not lead back.
func FuzzRewrite(f *testing.F) {
	f.Add("SELECT 'ü' FROM pg_stat_activity, pg_reload_conf()", "pgexthost.x", 16, 32, 34, 48, uint8(0))
	f.Add("aüb", "", 1, 3, 0, 1, uint8(1))
	f.Add("aüb", "ü", 2, 2, 2, 2, uint8(2))
	f.Add("\x8f\xa1\xa1x", "y", 0, 3, 3, 4, uint8(6))
	f.Fuzz(func(t *testing.T, sql, text string, start, end, start2, end2 int, bits uint8) {
		o := options(bits)
		if same, p := Rewrite(sql, nil, o); same != sql || p.Original(start) != start {
			t.Fatalf("no edits: got %q", same)
		}
		edits := []Edit{{start, end, text}, {start2, end2, text + "x"}}
		got, p := Rewrite(sql, edits, o)
		if reversed, _ := Rewrite(sql, []Edit{edits[1], edits[0]}, o); start != start2 && reversed != got {
			t.Fatalf("%q is not %q", reversed, got)
		}
		characters, last := widthOf(o).count(sql), 0
		for position := range widthOf(o).count(got) + 1 {
			position++
			at := p.Original(position)
			if at < last || at < 1 {
				t.Fatalf("%q: position %d leads to %d, the one before to %d", got, position, at, last)
			}
			last = at
		}
		if inside(sql, start, end, o) && inside(sql, start2, end2, o) && inside(got, 0, len(got), o) && last != characters+1 {
			t.Fatalf("%q: the end leads to %d of %d", got, last, characters)
		}
	})
}

// inside reports whether an edit is one of whole characters: only of these is the
// sum that of the parts.
func inside(sql string, start, end int, o Options) bool {
	if start < 0 || end < start || end > len(sql) {
		return false
	}
	w := widthOf(o)
	return w.count(sql[:start])+w.count(sql[start:end])+w.count(sql[end:]) == w.count(sql) && !strings.ContainsFunc(sql, func(r rune) bool { return r == '\ufffd' })
}
