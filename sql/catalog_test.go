package sql_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
)

// files writes files into the subdirectory "extension" of a new directory.
func files(t *testing.T, texts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "extension"), 0o700))
	for name, text := range texts {
		check(t, os.WriteFile(filepath.Join(dir, "extension", name), []byte(text), 0o600))
	}
	return dir
}

// opened opens the catalog of a path.
func opened(t *testing.T, path string) sql.Catalog {
	t.Helper()
	c, err := sql.OpenCatalog(path)
	check(t, err)
	return c
}

func TestThePathHasPostgreSQLsForm(t *testing.T) {
	for path, message := range map[string]string{
		"":                   "",
		"$system":            "",
		"/nowhere:$system":   "",
		"share:$system":      `component in parameter "extension_control_path" is not an absolute path`,
		"$system/more":       `component in parameter "extension_control_path" is not an absolute path`,
		"$libdir":            `component in parameter "extension_control_path" is not an absolute path`,
		"/nowhere::$system":  `zero-length component in parameter "extension_control_path"`,
		"/nowhere:$system: ": `component in parameter "extension_control_path" is not an absolute path`,
		"/nowhere:":          `zero-length component in parameter "extension_control_path"`,
	} {
		_, err := sql.OpenCatalog(path)
		e := elog.AsErrorData(err, elog.Error)
		if message == "" && e != nil || message != "" && (e == nil || e.Code != elog.InvalidName || e.Message != message) {
			t.Errorf("%q: got %+v", path, e)
		}
	}
}

func TestTheFirstDirectoryThatHasAnExtensionWins(t *testing.T) {
	first := files(t, map[string]string{"a--1.0.sql": "", "a--1.0--1.1.sql": "", "both--1.0.sql": "", "README": "", "x--1.0--1.1.sql": "", "--.sql": "", "n--drop.sql": ""})
	second := files(t, map[string]string{
		"both--2.0.sql": "", "b.control": "default_version = '1.0'\ncomment = 'it''s b'", "b--1.0.sql": "", "b--1.0--2.0.sql": "",
		"worker_spi--9.sql": "", "pgexthost--9.sql": "", "pgexthost.control": "default_version = '9'",
	})
	for path, want := range map[string][]sql.Available{
		"": {
			{Name: "pgexthost", Version: "1.0", Location: "$system"}, {Name: "worker_spi", Version: "1.0", Location: "$system"},
		},
		first + ":/nowhere:" + second + ":$system": {
			{Name: "a", Version: "1.1", Location: first + "/extension"},
			{Name: "b", Version: "1.0", Comment: "it's b", Location: second + "/extension"},
			{Name: "both", Version: "1.0", Location: first + "/extension"},
			{Name: "pgexthost", Version: "1.0", Location: "$system"}, {Name: "worker_spi", Version: "9", Location: second + "/extension"},
		},
		second + ":" + first: {
			{Name: "a", Version: "1.1", Location: first + "/extension"},
			{Name: "b", Version: "1.0", Comment: "it's b", Location: second + "/extension"},
			{Name: "both", Version: "2.0", Location: second + "/extension"},
			{Name: "pgexthost", Version: "1.0", Location: "$system"}, {Name: "worker_spi", Version: "9", Location: second + "/extension"},
		},
		first: {
			{Name: "a", Version: "1.1", Location: first + "/extension"}, {Name: "both", Version: "1.0", Location: first + "/extension"},
			{Name: "pgexthost", Version: "1.0", Location: "$system"},
		},
	} {
		got, err := opened(t, path).Available()
		check(t, err)
		for i := range got {
			if got[i].Location == "$system" {
				got[i].Comment = "" // theirs are no matter
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v", path, got)
		}
	}
}

func TestAnExtensionThatIsNotThereSaysWhereItWasLookedFor(t *testing.T) {
	dir := files(t, nil)
	_, err := opened(t, dir+":/nowhere").Version("thing")
	e := elog.AsErrorData(err, elog.Error)
	want := `There is neither "thing.control" nor "thing--VERSION.sql" in "` + dir + `/extension", "/nowhere/extension" (which does not exist).`
	if e == nil || e.Code != elog.FeatureNotSupported || e.Message != `extension "thing" is not available` || e.Detail != want || e.Hint == "" {
		t.Errorf("got %+v", e)
	}
}

func TestNamesThatWouldLeaveTheDirectoryAreRefused(t *testing.T) {
	parent := files(t, map[string]string{"thing--1.0.sql": "", "sub": ""})
	for name, detail := range map[string]string{
		"../extension/thing": "must not contain directory separator characters.",
		"/etc/passwd":        "must not contain directory separator characters.",
		"":                   "must not be empty.",
		"thing--1.0":         `must not contain "--".`,
		"-thing":             `must not begin or end with "-".`,
		"thing-":             `must not begin or end with "-".`,
	} {
		_, err := opened(t, parent).Version(name)
		e := elog.AsErrorData(err, elog.Error)
		if e == nil || e.Code != elog.InvalidParameterValue || e.Message != `invalid extension name: "`+name+`"` || e.Detail != "Extension names "+detail {
			t.Errorf("%q: got %+v", name, e)
		}
	}
	dir := files(t, map[string]string{"thing.control": "default_version = '../1.0'", "thing--1.0.sql": ""})
	_, err := opened(t, dir).Version("thing")
	if e := elog.AsErrorData(err, elog.Error); e == nil || e.Message != `invalid extension version name: "../1.0"` {
		t.Errorf("got %+v", e)
	}
}

func TestADirectoryThatCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Symlink("extension", filepath.Join(dir, "extension"))) // root can read all else
	c := opened(t, dir)
	_, one := c.Version("thing")
	_, all := c.Available()
	for _, err := range []error{one, all} {
		if e := elog.AsErrorData(err, elog.Error); e == nil || e.Message != `could not open directory "`+dir+`/extension": Too many levels of symbolic links` {
			t.Errorf("got %+v", e)
		}
	}
	dir = t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "extension"), nil, 0o600))
	if _, err := opened(t, dir).Version("thing"); elog.CodeOf(err) != elog.WrongObjectType {
		t.Errorf("got %v", err)
	}
}

func TestAWrongControlFileIsRefusedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"comment = ":                                 `42601 syntax error in file "FILE" line 1, near end of line`,
		"\ncolour = 'red'":                           `42601 unrecognized parameter "colour" in file "FILE" This is line 2 of file "FILE".`,
		"relocatable = perhaps":                      `22023 parameter "relocatable" requires a Boolean value This is line 1 of file "FILE".`,
		"requires = 'a,,b'":                          `22023 parameter "requires" must be a list of extension names This is line 1 of file "FILE".`,
		"requires = '../a'":                          `22023 parameter "requires" must be a list of extension names This is line 1 of file "FILE".`,
		"default_version = ''":                       `22023 invalid extension version name: "" Version names must not be empty.`,
		"encoding = latin1":                          `0A000 parameter "encoding" = 'latin1' is not supported in file "FILE"`,
		"directory = 'elsewhere'":                    `0A000 parameter "directory" = 'elsewhere' is not supported in file "FILE"`,
		"module_pathname = '$libdir/thing'":          `0A000 parameter "module_pathname" = '$libdir/thing' is not supported in file "FILE"`,
		"include = 'other.control'":                  `58P01 could not open configuration file "/`,
		"comment = '\xff'":                           `22021 invalid byte sequence for encoding "UTF8" in file "FILE"`,
		"relocatable = true\nsuperuser = off":        "",
		"trusted = yes\nencoding = 'UTF-8'":          "",
		"no_relocate = 'a'\nschema = s\nrequires = ": `42601 syntax error in file "FILE" line 3, near end of line`,
	} {
		dir := files(t, map[string]string{"thing.control": text})
		_, err := opened(t, dir).Version("thing")
		got := ""
		if e := elog.AsErrorData(err, elog.Error); e != nil {
			got = strings.TrimSpace(string(e.Code) + " " + e.Message + " " + e.Detail)
		}
		want = strings.ReplaceAll(want, "FILE", dir+"/extension/thing.control")
		if got != want && (want == "" || !strings.HasSuffix(want, "/") || !strings.HasPrefix(got, want)) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
