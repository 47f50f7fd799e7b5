package library_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestLibraryPathErrorsOfSPEC12(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"looping": "looping", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, path string
		code       elog.SQLState
		want       string
	}{
		{"x", "/a::/b", elog.InvalidName, `zero-length component in parameter "dynamic_library_path"`},
		{"x", ":", elog.InvalidName, `zero-length component in parameter "dynamic_library_path"`},
		{"x", "a", elog.InvalidName, `component in parameter "dynamic_library_path" is not an absolute path`},
		{"x", "$dir", elog.InvalidName, `invalid macro name in path: $dir`},
		{"$libdirx/y", "$libdir", elog.InvalidName, `invalid macro name in path: $libdirx/y`},
		{"x", "$libdir", elog.UndefinedFile, `could not access file "x": No such file or directory`},
		{"x", "", elog.UndefinedFile, `could not access file "x": No such file or directory`},
		{"compiled_in", dir, elog.UndefinedFile, `could not access file "compiled_in": No such file or directory`},
		{"directory", dir, elog.UndefinedFile, `could not access file "directory": No such file or directory`},
		{"/no/such", "$libdir", elog.UndefinedFile, `could not access file "/no/such": No such file or directory`},
		{"looping", "/nonexistent:" + dir + ":$libdir", elog.InternalError, `could not access file "` + dir + `/looping": Too many levels of symbolic links`},
		{"dangling", dir, elog.UndefinedFile, `could not access file "dangling": No such file or directory`},
		{"", dir, elog.UndefinedFile, `could not access file "": No such file or directory`},
		{"./no", "$libdir", elog.UndefinedFile, `could not access file "./no": No such file or directory`},
		{"$libdir/no", "$libdir", elog.UndefinedFile, `could not access file "$libdir/no": No such file or directory`},
		{filepath.Join(dir, "directory"), "", elog.WrongObjectType, `could not access file "` + dir + `/directory": Is a directory`},
	} {
		_, err := library.Path{Search: tt.path, Libdir: "/nonexistent", CompiledIn: []string{"compiled_in"}}.Find(tt.name)
		var report *elog.ErrorData
		if !errors.As(err, &report) || report.Code != tt.code || report.Message != tt.want {
			t.Errorf("%q on %q: got %v (%s)", tt.name, tt.path, err, elog.CodeOf(err))
		}
	}
}

func TestTheHintSaysHowACompiledInLibraryIsFound(t *testing.T) {
	path := library.Path{Search: "/nonexistent", Libdir: "/lib", CompiledIn: []string{"compiled_in"}}
	for name, want := range map[string]string{
		"compiled_in": `It is compiled into this host, which "$libdir" stands for; but "dynamic_library_path" is "/nonexistent".`,
		"other":       `Libraries compiled into this host: compiled_in. Others are looked for in "dynamic_library_path", which is "/nonexistent".`,
	} {
		_, err := path.Find(name)
		var report *elog.ErrorData
		if !errors.As(err, &report) || report.Hint != want {
			t.Errorf("%s: %v has another hint", name, err)
		}
	}
}

func TestALibraryIsFoundWhereThePathSaysFirst(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, file := range []string{filepath.Join(one, "both"), filepath.Join(two, "both"), filepath.Join(two, "compiled_in"), filepath.Join(two, "second")} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	compiledIn := library.Location{CompiledIn: "compiled_in"}
	file := func(dir, name string) library.Location { return library.Location{File: filepath.Join(dir, name)} }
	for _, tt := range []struct {
		name, path string
		want       library.Location
	}{
		{"both", one + ":" + two, file(one, "both")},
		{"both", two + ":" + one, file(two, "both")},
		{"second", one + ":" + two, file(two, "second")},
		{"second", "$libdir", file(two, "second")},
		{"$libdir/second", one, file(two, "second")},
		{filepath.Join(one, "both"), "", file(one, "both")},
		{"compiled_in", "$libdir", compiledIn},
		{"compiled_in", "/nonexistent:$libdir", compiledIn},
		{"compiled_in", two, compiledIn}, // which is $libdir
		{"compiled_in", two + "/", compiledIn},
		{"compiled_in", "/nonexistent:" + two + "//./", compiledIn},
		{"compiled_in", "$libdir/", compiledIn},
		{"both", one + "/:" + two, file(one, "both")},
		{"$libdir//compiled_in", "", compiledIn},
		{"$libdir/compiled_in", "", compiledIn},
		{filepath.Join(two, "compiled_in"), "$libdir", file(two, "compiled_in")},
	} {
		got, err := library.Path{Search: tt.path, Libdir: two, CompiledIn: []string{"compiled_in"}}.Find(tt.name)
		if err != nil || got != tt.want {
			t.Errorf("%q on %q: got %+v, %v, want %+v", tt.name, tt.path, got, err, tt.want)
		}
	}
}
