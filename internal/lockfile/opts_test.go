//go:build linux

package lockfile

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/shellwords"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

var awkward = Opts{Program: "/opt/my host/bin/pgexthost", Args: []string{"run", "-D", "/data dir", "-c", `x.y=it's "q" \ $HOME ` + "`id`", "", "a\nb"}}

func TestOptsComeBackAsWritten(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []Opts{awkward, {Program: "/bin/pgexthost", Args: []string{"run"}}} {
		if err := WriteOpts(dir, o); err != nil {
			t.Fatal(err)
		}
		got, err := ReadOpts(dir)
		if err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("wrote %q, read %q, %v", o, got, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
}

func TestAPlainCommandLineLooksLikePostgres(t *testing.T) {
	o := Opts{Program: "/usr/bin/pgexthost", Args: []string{"run", "-D", "/data"}}
	if got, want := o.String(), `/usr/bin/pgexthost "run" "-D" "/data"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAShellReadsTheSameWords(t *testing.T) {
	out, err := exec.Command("sh", "-c", `printf '%s\0' `+awkward.String()).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(append([]string{awkward.Program}, awkward.Args...), "\x00") + "\x00"
	if string(out) != want {
		t.Errorf("a shell reads %q", out)
	}
}

func TestReadOptsSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadOpts(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, bad := range []string{"", " \n", `a "b`, `a "b\`, "\x00\x00", "a \"\x00\""} {
		if err := os.WriteFile(filepath.Join(dir, OptsName), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadOpts(dir)
		expectReport(t, err, elog.Error, elog.InternalError, "must have exactly one command line", "")
	}
	if err := WriteOpts(filepath.Join(dir, "missing"), awkward); elog.CodeOf(err) != elog.UndefinedFile {
		t.Errorf("no directory: %v", err)
	}
}

func FuzzOpts(f *testing.F) {
	f.Add(awkward.Program, awkward.Args[4])
	f.Add("", "\\")
	f.Fuzz(func(t *testing.T, program, arg string) {
		o := Opts{Program: program, Args: []string{arg, "last"}}
		if words, err := shellwords.Split(o.String()); err != nil || !reflect.DeepEqual(words, []string{program, arg, "last"}) {
			t.Errorf("%q: got %q, %v", o, words, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("1\n/data\n1700000000\n0\n\n\n  1 2\nready   \n")
	f.Add("1")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if err != nil {
			return
		}
		again, err := parse(c.String())
		if err != nil || again.Pid != c.Pid || again.DataDir != c.DataDir {
			t.Errorf("%q: %+v, then %+v, %v", text, c, again, err)
		}
	})
}

func TestOptsThatCannotBeWrittenLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, OptsName), 0o700); err != nil {
		t.Fatal(err)
	}
	err := WriteOpts(dir, Opts{Program: "/bin/x"})
	expectReport(t, err, elog.Fatal, elog.DuplicateFile, "could not write file \""+dir+"/postmaster.opts\": ", "")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
}
