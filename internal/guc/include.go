package guc

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// include is a demand to read a file or directory.
type include struct {
	name  string
	from  string // the file that demands it, empty for the main one
	line  int    // of the demand
	depth int    // of nesting, 0 for the main one
	must  bool   // it is an error if there is none
}

// path returns what is to be read: relative to the demanding file. Mirrors
// AbsoluteConfigLocation.
func (in include) path() string {
	if filepath.IsAbs(in.name) || in.from == "" {
		return filepath.Clean(in.name)
	}
	return filepath.Join(filepath.Dir(in.from), in.name)
}

func (in include) isBlank() bool { return strings.Trim(in.name, " \t\r\n") == "" }

// fail reports why what is to be included can't be, and where that was wanted.
func (p *parser) fail(in include, code elog.SQLState, format string, args ...any) bool {
	wanted := Item{File: in.from, Line: in.line, Source: SourceFile}
	p.conf.Reports = append(p.conf.Reports, wanted.at(elog.New(elog.Log, code, format, args...)))
	return false
}

// file reads one file. Mirrors ParseConfigFile.
func (p *parser) file(in include) bool {
	if in.isBlank() {
		return p.fail(in, elog.InvalidParameterValue, "empty configuration file name: \"%s\"", in.name)
	}
	if in.depth > maxNesting {
		return p.fail(in, elog.ProgramLimitExceeded, "could not open configuration file \"%s\": maximum nesting depth exceeded", in.name)
	}
	path := in.path()
	if in.from != "" && path == filepath.Clean(in.from) {
		return p.fail(in, elog.InvalidParameterValue, "configuration file recursion in \"%s\"", in.from)
	}
	if p.opened++; p.opened > maxFiles {
		// Files that include others twice each double at every level. Once
		// said is enough.
		if p.opened == maxFiles+1 {
			p.fail(in, elog.ProgramLimitExceeded, "could not open configuration file \"%s\": more than %d files are included", path, maxFiles)
		}
		return false
	}
	text, err := p.files.read(path)
	switch {
	case err == nil:
		return p.text(path, text, in.depth)
	case !in.must && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)):
		if in.from != "" { // a file that nobody asked for is not missed
			p.report(elog.SuccessfulCompletion, "skipping missing configuration file \"%s\"", path)
		}
		return true
	}
	return p.fail(in, elog.FileAccessCode(err), "could not open configuration file \"%s\": %s", path, elog.OSReason(err))
}

// directory reads the files of a directory that end in .conf and aren't
// hidden, in the order of their names. Mirrors ParseConfigDirectory.
func (p *parser) directory(in include) bool {
	if in.isBlank() {
		return p.fail(in, elog.InvalidParameterValue, "empty configuration directory name: \"%s\"", in.name)
	}
	dir := in.path()
	names, err := p.files.list(dir)
	if err != nil {
		return p.fail(in, elog.FileAccessCode(err), "could not open configuration directory \"%s\": %s", dir, elog.OSReason(err))
	}
	ok := true
	for _, name := range names {
		if name[0] == '.' || !strings.HasSuffix(name, ".conf") {
			continue
		}
		path := filepath.Join(dir, name)
		isDir, err := p.files.isDir(path)
		if err != nil {
			ok = p.fail(in, elog.FileAccessCode(err), "could not stat file \"%s\": %s", path, elog.OSReason(err))
		} else if !isDir && !p.file(include{name: path, from: in.from, line: in.line, depth: in.depth, must: true}) {
			ok = false
		}
	}
	return ok
}

// fileSystem is what the parser needs of the world.
type fileSystem interface {
	read(path string) (string, error)
	list(dir string) ([]string, error) // sorted names
	isDir(path string) (bool, error)
}

// osFiles is the real world.
type osFiles struct{}

func (osFiles) read(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// Reading a pipe could block for ever, and with it the host.
	if info, err := f.Stat(); err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		return "", errors.New("it is not a regular file")
	}
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(f, maxFileSize+1))
	if err == nil && n > maxFileSize {
		err = syscall.EFBIG
	}
	return b.String(), err
}

func (osFiles) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (osFiles) isDir(path string) (bool, error) {
	info, err := os.Stat(path)
	return err == nil && info.IsDir(), err
}

// memoryFiles is a world of a few files, by path, and no directories.
type memoryFiles map[string]string

func (m memoryFiles) read(path string) (string, error) {
	if text, ok := m[path]; ok {
		return text, nil
	}
	return "", syscall.ENOENT
}

func (memoryFiles) list(string) ([]string, error) { return nil, syscall.ENOENT }
func (memoryFiles) isDir(string) (bool, error)    { return false, syscall.ENOENT }
