package limits_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestLimitsAreReadAsTheyAreWritten(t *testing.T) {
	five, minus := 5, -20
	for text, want := range map[string]limits.Table{
		"":             nil,
		" \t\n":        nil,
		"a:":           {{Library: "a"}},
		"a: files=16;": {{Library: "a", Files: 16}},
		"queue: memory=256MB files=1024 nice=5 no_new_privileges directory=/var/lib/queue env.QUEUE_DEBUG=1; *: no_new_privileges": {
			{
				Library: "queue", Memory: 256 << 20, Files: 1024, Nice: &five, NoNewPrivileges: true, Directory: "/var/lib/queue",
				Env: []limits.Variable{{Name: "QUEUE_DEBUG", Value: "1"}},
			},
			{Library: "*", NoNewPrivileges: true},
		},
		"a:nice=-20 memory=0.5GB;b:memory=16384": {{Library: "a", Nice: &minus, Memory: 512 << 20}, {Library: "b", Memory: 16 << 20}},
		`"my lib;:": directory="/a b" env.X="say ""hi"": now; then" env._=a:b=c env.PGPASSWORD env.E=` + "\n;\"/x\"/y:": {
			{Library: "my lib;:", Directory: "/a b", Env: []limits.Variable{
				{Name: "X", Value: `say "hi": now; then`}, {Name: "_", Value: "a:b=c"}, {Name: "PGPASSWORD", Unset: true}, {Name: "E"},
			}},
			{Library: "/x/y"},
		},
	} {
		got, err := limits.Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestAWrongLimitIsRefusedByName(t *testing.T) {
	const form = "Write LIBRARY: LIMIT ...; LIBRARY: LIMIT ..., with double quotes around what holds blanks, colons or semicolons."
	for text, want := range map[string]struct{ detail, hint string }{
		"queue":                     {`There is no colon after the library "queue".`, form},
		"my lib: nice=1":            {`There is no colon after the library "my".`, form},
		": nice=1":                  {"The name of a library is missing.", form},
		`"": nice=1`:                {"The name of a library is missing.", form},
		"a: nice=1;; b: nice=2":     {"The name of a library is missing.", form},
		`a: env.X="b`:               {"A double quote is not closed.", form},
		`"a`:                        {"A double quote is not closed.", form},
		"a: nice=1; a: files=20":    {`Library "a" is there twice.`, ""},
		"a: memroy=1GB":             {`Unrecognized limit "memroy" of library "a".`, "The limits are memory, files, nice, no_new_privileges, directory and env.NAME."},
		`a: "memory=1GB"`:           {`Unrecognized limit "memory=1GB" of library "a".`, "The limits are memory, files, nice, no_new_privileges, directory and env.NAME."},
		"a: b: nice=1":              {`Unrecognized limit "b:" of library "a".`, "The limits are memory, files, nice, no_new_privileges, directory and env.NAME."},
		"a: nice=1 nice=2":          {`"nice" of library "a" is there twice.`, ""},
		"a: env.X=1 env.X":          {`"env.X" of library "a" is there twice.`, ""},
		"a: memory":                 {`"memory" of library "a" needs a value.`, "Write memory=VALUE, without blanks."},
		"a: memory = 1GB":           {`"memory" of library "a" needs a value.`, "Write memory=VALUE, without blanks."},
		"a: no_new_privileges=on":   {`"no_new_privileges" of library "a" takes no value.`, ""},
		"a: directory=tmp":          {`The directory "tmp" of library "a" is not an absolute path.`, ""},
		"a: env.2=1":                {`"2" of library "a" is not the name of an environment variable.`, ""},
		"a: env.=1":                 {`"" of library "a" is not the name of an environment variable.`, ""},
		"a: env.PGEXTHOST_CHILD=1":  {`The environment variable "PGEXTHOST_CHILD" is the host's own.`, ""},
		"a: memory=lots":            {`Library "a": invalid value for parameter "memory": "lots".`, "With less than 16 MB a worker does not start. Sizes have units, as in memory=256MB."},
		"a: memory=1XB":             {`Library "a": invalid value for parameter "memory": "1XB".`, `Valid units for this parameter are "B", "kB", "MB", "GB", and "TB".`},
		"a: memory=256":             {`Library "a": 256 kB is outside the valid range for parameter "memory" (16384 kB .. 2147483647 kB).`, "With less than 16 MB a worker does not start. Sizes have units, as in memory=256MB."},
		"a: files=15":               {`Library "a": 15 is outside the valid range for parameter "files" (16 .. 1048576).`, ""},
		"a: nice=20":                {`Library "a": 20 is outside the valid range for parameter "nice" (-20 .. 19).`, ""},
		"a: nice=1; b: nice=x; c: ": {`Library "b": invalid value for parameter "nice": "x".`, ""},
	} {
		_, err := limits.Parse(text)
		e := elog.AsErrorData(err, elog.Error)
		if e == nil || e.Code != elog.InvalidParameterValue || e.Detail != want.detail || e.Hint != want.hint {
			t.Errorf("%q: got %+v", text, e)
		}
	}
}

// Whatever can be read is written so that it reads the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "a:", `queue: memory=256MB files=1024 nice=-5 no_new_privileges directory="/a b" env.X="a ""b"";" env.Y; *: env.Z=`, `"`, `"";`, `a"b"c: env.X=""""`, "a: ;b:;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := limits.Parse(text)
		if err != nil {
			if e := elog.AsErrorData(err, elog.Error); e.Detail == "" || strings.HasSuffix(e.Detail, "..") {
				t.Errorf("%q: got %+v", text, e)
			}
			return
		}
		again, err := limits.Parse(table.String())
		if err != nil || !reflect.DeepEqual(again, table) {
			t.Errorf("%q is written as %q: %v, %v", text, table.String(), again, err)
		}
	})
}
