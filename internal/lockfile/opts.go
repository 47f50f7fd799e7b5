package lockfile

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/shellwords"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// OptsName is the name of the file with the command line of the host that ran
// last in a data directory.
const OptsName = "postmaster.opts"

// Opts is a command line.
type Opts struct {
	Program string
	Args    []string
}

// OwnProgram returns the path of this program, by the name that it was called
// by if that leads to it: a symbolic link may lead to a new version by the time
// of a restart.
func OwnProgram() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	called, err := exec.LookPath(os.Args[0])
	if err == nil {
		called, err = filepath.Abs(called)
	}
	if err != nil || !isSameFile(called, exe) {
		return exe, nil
	}
	return called, nil
}

func isSameFile(a, b string) bool {
	stA, errA := os.Stat(a) //nolint:gosec // G703: whoever runs a program may say where it is
	stB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(stA, stB)
}

// String returns the line of the file, which a shell would read the same way:
// the program, then each argument in double quotes. Mirrors CreateOptsFile,
// which takes no notice of quotes inside arguments.
func (o Opts) String() string {
	var b strings.Builder
	b.WriteString(shellwords.Quote(o.Program))
	for _, arg := range o.Args {
		b.WriteByte(' ')
		writeQuoted(&b, arg)
	}
	return b.String()
}

func writeQuoted(b *strings.Builder, word string) {
	b.WriteByte('"')
	for i := 0; i < len(word); i++ {
		if strings.IndexByte("\"\\$`", word[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(word[i])
	}
	b.WriteByte('"')
}

// WriteOpts replaces postmaster.opts in a data directory, as a whole or not at
// all. The error is an *elog.ErrorData of level FATAL.
func WriteOpts(dir string, o Opts) error {
	path := filepath.Join(dir, OptsName)
	if err := ReplaceFile(path, []byte(o.String()+"\n")); err != nil {
		return fatal(elog.FileAccessCode(err), err, "could not write file \"%s\": %s", path, elog.OSReason(err))
	}
	return nil
}

// ReplaceFile puts a file in the place of another, as a whole or not at all. It
// does not wait for the disk, and returns the operating system's error.
func ReplaceFile(path string, text []byte) error {
	tmp := path + ".tmp"
	err := os.WriteFile(tmp, text, 0o600)
	if err == nil {
		failpoint.Here(failpoint.FileWritten)
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// ReadOpts reads postmaster.opts of a data directory. It returns an error that
// is fs.ErrNotExist if there is none, and an *elog.ErrorData of level ERROR if
// it can't be read or holds no command line.
func ReadOpts(dir string) (Opts, error) {
	path := filepath.Join(dir, OptsName)
	text, err := os.ReadFile(path)
	if err != nil {
		return Opts{}, elog.New(elog.Error, elog.FileAccessCode(err), "could not read file \"%s\": %s", path, elog.OSReason(err)).WithCause(err)
	}
	words, err := shellwords.Split(string(text))
	// No argument has a NUL in it, but a file has after some losses of power.
	if err != nil || len(words) == 0 || bytes.IndexByte(text, 0) >= 0 {
		return Opts{}, elog.New(elog.Error, elog.InternalError, "option file \"%s\" must have exactly one command line", path).WithCause(err)
	}
	return Opts{Program: words[0], Args: words[1:]}, nil
}
