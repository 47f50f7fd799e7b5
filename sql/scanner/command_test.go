package scanner

import (
	"reflect"
	"strings"
	"testing"
)

// commands are texts and what they say; those with nil look like Commands and are none.
var commands = []struct {
	sql  string
	want Command
}{
	{"CREATE EXTENSION worker_spi", CreateExtension{Name: "worker_spi"}},
	{"create /* a */ extension -- b\n Worker_SPI", CreateExtension{Name: "worker_spi"}},
	{`CREATE EXTENSION "Worker ""SPI"""`, CreateExtension{Name: `Worker "SPI"`}},
	{`CREATE EXTENSION U&"d\0061t\+000061" WITH`, CreateExtension{Name: "data"}},
	{`CREATE EXTENSION U&"d!0061t!!" /* a */ UESCAPE '!' CASCADE`, CreateExtension{Name: "dat!", Cascade: true}},
	{"CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA s VERSION '1.0' CASCADE", CreateExtension{Name: "x", IfNotExists: true, Schema: "s", Version: "1.0", Cascade: true}},
	{"CREATE EXTENSION x CASCADE VERSION one SCHEMA \"S\"", CreateExtension{Name: "x", Schema: "S", Version: "one", Cascade: true}},
	{`CREATE EXTENSION x VERSION E'1\x2e0\u0041'`, CreateExtension{Name: "x", Version: "1.0A"}},
	{"CREATE EXTENSION x VERSION $v$1.0$v$", CreateExtension{Name: "x", Version: "1.0"}},
	{"CREATE EXTENSION x VERSION '1'\n'.0''1'", CreateExtension{Name: "x", Version: "1.0'1"}},
	{"CREATE EXTENSION x VERSION left", CreateExtension{Name: "x", Version: "left"}},
	{"CREATE EXTENSION x VERSION \"V\"", CreateExtension{Name: "x", Version: "V"}},
	{"CREATE EXTENSION if", CreateExtension{Name: "if"}},
	{"CREATE EXTENSION schema SCHEMA version VERSION cascade", CreateExtension{Name: "schema", Schema: "version", Version: "cascade"}},
	{"CREATE EXTENSION " + strings.Repeat("x", 70), CreateExtension{Name: strings.Repeat("x", 63)}},
	{"CREATE EXTENSION \"" + strings.Repeat("x", 62) + "üü\"", CreateExtension{Name: strings.Repeat("x", 62)}},
	{"CREATE EXTENSION x VERSION N'1'", nil},
	{"CREATE EXTENSION x VERSION B'1'", nil},
	{"CREATE EXTENSION x VERSION 1.0", nil},
	{"CREATE EXTENSION x VERSION select", nil},
	{"CREATE EXTENSION x FROM unpackaged", nil},
	{"CREATE EXTENSION user", nil},
	{"CREATE EXTENSION left", nil},
	{"CREATE EXTENSION 'x'", nil},
	{"CREATE EXTENSION x.y", nil},
	{"CREATE EXTENSION x y", nil},
	{"CREATE EXTENSION x WITH WITH", nil},
	{"CREATE EXTENSION IF EXISTS x", nil},
	{"CREATE EXTENSION \"\"", nil},
	{"CREATE EXTENSION", nil},
	{"DROP EXTENSION x", DropExtension{Names: []string{"x"}}},
	{"drop extension if exists x, \"Y\" ,z cascade", DropExtension{Names: []string{"x", "Y", "z"}, IfExists: true, Cascade: true}},
	{"DROP EXTENSION x RESTRICT", DropExtension{Names: []string{"x"}}},
	{"DROP EXTENSION x CASCADE RESTRICT", nil},
	{"DROP EXTENSION x,", nil},
	{"DROP EXTENSION x y", nil},
	{"DROP EXTENSION IF NOT EXISTS x", nil},
	{"ALTER EXTENSION x UPDATE", AlterExtensionUpdate{Name: "x"}},
	{"ALTER EXTENSION X UPDATE TO '1.1'", AlterExtensionUpdate{Name: "x", To: "1.1"}},
	{"ALTER EXTENSION update UPDATE TO on_e", AlterExtensionUpdate{Name: "update", To: "on_e"}},
	{"ALTER EXTENSION x UPDATE TO", nil},
	{"ALTER EXTENSION x SET SCHEMA y", nil},
	{"ALTER EXTENSION x ADD TABLE y", nil},
	{"LOAD 'worker_spi'", Load{File: "worker_spi"}},
	{"load U&'w\\006frker' uescape '!'", Load{File: `w\006frker`}},
	{"LOAD $$a$$", Load{File: "a"}},
	{"LOAD worker_spi", nil},
	{"LOAD 'a' 'b'", nil},
	{"LOAD 'a', 'b'", nil},
	{"SHOW worker_spi.naptime", Show{Name: "worker_spi.naptime"}},
	{`SHOW "Worker_SPI" . Naptime /* a */ .x`, Show{Name: "Worker_SPI.naptime.x"}},
	{"SHOW work_mem", nil},
	{"SHOW ALL", nil},
	{"SHOW TIME ZONE", nil},
	{"SHOW a.", nil},
	{"SHOW a.select", nil},
	{"SHOW select.a", nil},
	{"SHOW a.b c", nil},
	{"SHOW 'a.b'", nil},
	{"SET a.b = 1", Set{Name: "a.b", Values: []string{"1"}}},
	{"SET a.b=-1", Set{Name: "a.b", Values: []string{"-1"}}},
	{"SET a.b=- 007", Set{Name: "a.b", Values: []string{"-7"}}},
	{"SET a.b = +1", Set{Name: "a.b", Values: []string{"1"}}},
	{"SET a.b TO 1.50", Set{Name: "a.b", Values: []string{"1.50"}}},
	{"SET a.b TO -.5e+2", Set{Name: "a.b", Values: []string{"-.5e+2"}}},
	{"SET a.b TO +2.", Set{Name: "a.b", Values: []string{"2."}}},
	{"SET a.b TO -0", Set{Name: "a.b", Values: []string{"0"}}},
	{"SET a.b TO -2147483648", Set{Name: "a.b", Values: []string{"-2147483648"}}},
	{"SET a.b TO 00099999999999", Set{Name: "a.b", Values: []string{"00099999999999"}}},
	{"SET a.b TO TRUE", Set{Name: "a.b", Values: []string{"true"}}},
	{"SET a.b TO False", Set{Name: "a.b", Values: []string{"false"}}},
	{"SET a.b TO ON", Set{Name: "a.b", Values: []string{"on"}}},
	{"SET a.b TO OFF", Set{Name: "a.b", Values: []string{"off"}}},
	{"SET a.b TO Some_Word", Set{Name: "a.b", Values: []string{"some_word"}}},
	{"SET a.b TO \"Some Word\"", Set{Name: "a.b", Values: []string{"Some Word"}}},
	{"SET a.b TO 'It''s \\n'", Set{Name: "a.b", Values: []string{`It's \n`}}},
	{`SET a.b TO E'It\'s ''\n\101\x41\q'`, Set{Name: "a.b", Values: []string{"It's '\nAAq"}}},
	{`SET a.b TO E'\ud83d\ude00\U0001F600\303\274'`, Set{Name: "a.b", Values: []string{"😀😀ü"}}},
	{`SET a.b TO U&'\d83d\de00\\'`, Set{Name: "a.b", Values: []string{`😀\`}}},
	{"SET a.b TO E'a' -- c\n 'b\\\\'", Set{Name: "a.b", Values: []string{`ab\`}}},
	{"SET a.b TO $x$ $y$ $x$", Set{Name: "a.b", Values: []string{" $y$ "}}},
	{"SET a.b TO ''", Set{Name: "a.b", Values: []string{""}}},
	{"SET LOCAL a.b TO 1", Set{Name: "a.b", Values: []string{"1"}, Local: true}},
	{"SET SESSION a.b TO 1", Set{Name: "a.b", Values: []string{"1"}}},
	{"SET local.b TO 1", Set{Name: "local.b", Values: []string{"1"}}},
	{"SET session.b TO 1", Set{Name: "session.b", Values: []string{"1"}}},
	{"SET time.zone TO 1", Set{Name: "time.zone", Values: []string{"1"}}},
	{"SET LOCAL local.b TO DEFAULT", Set{Name: "local.b", Local: true, ToDefault: true}},
	{"SET A.\"B\" = default", Set{Name: "a.B", ToDefault: true}},
	{"SET a.b TO x, 'y', 3", Set{Name: "a.b", Values: []string{"x", "y", "3"}}},
	{"SET a.b FROM CURRENT", nil},
	{"SET a.b TO", nil},
	{"SET a.b TO 1 2", nil},
	{"SET a.b TO 1,", nil},
	{"SET a.b TO DEFAULT, 1", nil},
	{"SET a.b TO 1, DEFAULT", nil},
	{"SET a.b TO null", nil},
	{"SET a.b TO - x", nil},
	{"SET a.b TO - - 1", nil},
	{"SET a.b TO (1)", nil},
	{"SET a.b TO $1", nil},
	{"SET a.b TO B'1'", nil},
	{"SET a.b := 1", nil},
	{"SET a.b = 'x", nil},
	{`SET a.b TO E'\u00'`, nil},
	{`SET a.b TO E'\ud83d'`, nil},
	{`SET a.b TO E'\0'`, nil},
	{`SET a.b TO E'\303'`, nil},
	{`SET a.b TO U&'\00'`, nil},
	{`SET a.b TO U&'a' UESCAPE '+'`, nil},
	{`SET a.b TO U&'a' UESCAPE 'xx'`, nil},
	{"SET work_mem TO 1", nil},
	{"SET TIME ZONE 1", nil},
	{"SET ROLE a", nil},
	{"SET SESSION AUTHORIZATION a", nil},
	{"SET TRANSACTION READ ONLY", nil},
	{"SET CONSTRAINTS a.b DEFERRED", nil},
	{"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", nil},
	{"RESET a.b", Reset{Name: "a.b"}},
	{"RESET ALL", Reset{All: true}},
	{"RESET all.b", nil},
	{"RESET work_mem", nil},
	{"RESET TIME ZONE", nil},
	{"RESET SESSION AUTHORIZATION", nil},
	{"ALTER SYSTEM SET work_mem = '4MB'", AlterSystem{Name: "work_mem", Values: []string{"4MB"}}},
	{"ALTER SYSTEM SET a.b TO x, y", AlterSystem{Name: "a.b", Values: []string{"x", "y"}}},
	{"ALTER SYSTEM SET a.b TO DEFAULT", AlterSystem{Name: "a.b", ToDefault: true}},
	{"ALTER SYSTEM RESET a.b", AlterSystem{Name: "a.b", Reset: true}},
	{"ALTER SYSTEM RESET ALL", AlterSystem{Reset: true, All: true}},
	{"ALTER SYSTEM SET TIME ZONE 1", nil},
	{"ALTER SYSTEM SET LOCAL a.b TO 1", nil},
	{"ALTER SYSTEM RESET", nil},
	{"ALTER SYSTEM", nil},
	{"EXPLAIN LOAD 'a'", nil},
	{"( LOAD 'a' )", nil},
}

func TestACommandIsWhatTheWholeStatementSays(t *testing.T) {
	for _, c := range commands {
		all := Scan(" "+c.sql+" -- end\n", usual)
		if len(all) != 1 || !reflect.DeepEqual(all[0].Command, c.want) {
			t.Errorf("%s: got %+v, want %#v", c.sql, all, c.want)
		}
		if c.want != nil && !MayConcern([]byte(c.sql)) {
			t.Errorf("%s: would be overlooked", c.sql)
		}
	}
}

func TestBackslashesEscapeWhereTheSessionSaysSo(t *testing.T) {
	off := Options{ClientEncoding: "UTF8"}
	sql := `LOAD 'a\''; LOAD 'b\\'; --'`
	if got := Scan(sql, off); len(got) != 2 || got[0].Command != (Load{File: "a'"}) || got[1].Command != (Load{File: `b\`}) {
		t.Errorf("off: got %+v", got)
	}
	if got := Scan(sql, usual); len(got) != 1 || got[0].Command != nil {
		t.Errorf("on: got %+v", got)
	}
	for _, sql := range []string{`LOAD E'\''; LOAD ''`, `LOAD $$\$$; LOAD ''`} {
		if got := Scan(sql, off); len(got) != 2 || got[0].Command == nil || got[1].Command == nil {
			t.Errorf("%s: got %+v", sql, got)
		}
	}
}

func TestCharactersByNumberNeedUTF8(t *testing.T) {
	latin := Options{StandardConformingStrings: true, ClientEncoding: "LATIN1"}
	for sql, want := range map[string]Command{
		`LOAD E'\u0041'`:                         Load{File: "A"},
		`LOAD U&'\0041'`:                         Load{File: "A"},
		"LOAD '\xfc'":                            Load{File: "\xfc"},
		`LOAD E'\u00fc'`:                         nil,
		`LOAD E'\xfc'`:                           nil,
		`LOAD U&'\00fc'`:                         nil,
		"DROP EXTENSION \xfc":                    DropExtension{Names: []string{"\xfc"}},
		`DROP EXTENSION U&"\00fc"`:               nil,
		`DROP EXTENSION U&"!00fc!" UESCAPE '!' `: nil,
	} {
		if got := Scan(sql, latin); len(got) != 1 || !reflect.DeepEqual(got[0].Command, want) {
			t.Errorf("%s: got %+v, want %#v", sql, got, want)
		}
	}
}

func TestNumbersMayHaveTheFormsOfPostgreSQL16(t *testing.T) {
	for raw, want := range map[string]string{
		"0x1F": "31", "-0b1_01": "-5", "0o17": "15", "1_000": "1000", "0x_f": "15", "1_0.5_0e1_0": "1_0.5_0e1_0",
		"0xFFFFFFFFFF": "0xFFFFFFFFFF", "-0x80000000": "-0x80000000",
	} {
		all := Scan("SET a.b = "+raw, usual)
		if got, ok := all[0].Command.(Set); !ok || got.Values[0] != want {
			t.Errorf("%s: got %+v, want %s", raw, all, want)
		}
	}
	for _, raw := range []string{"0x", "0b2", "1__0", "1_", "0x1g"} {
		if all := Scan("SET a.b = "+raw, usual); all[0].Command != nil {
			t.Errorf("%s: got %+v", raw, all)
		}
	}
}
