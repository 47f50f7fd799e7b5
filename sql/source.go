package sql

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// systemMacro is what stands for the extensions that come with pgexthost.
const systemMacro = "$system"

// source is a directory of scripts and control files.
type source struct {
	files  fs.FS
	dir    string // its path; empty if it is part of the program
	system bool   // it is what $system stands for
}

// ownSource is the scripts that are part of the program.
func ownSource() source {
	scripts, err := fs.Sub(embedded, "scripts")
	if err != nil {
		panic(err) // the name is a constant
	}
	return source{files: scripts, system: true}
}

// OpenCatalog returns the catalog of the directories that a value of
// extension_control_path names: absolute paths separated by colons, of whose
// subdirectories "extension" each is searched; $system for what is part of the
// program, and then share/pgexthost/extension beside the program's bin. An empty
// value means $system. Errors are *elog.ErrorData, with SQLSTATE 42602. Mirrors
// get_extension_control_directories and find_in_path.
//
// SchemaExtension is always the program's own.
func OpenCatalog(path string) (Catalog, error) {
	if path == "" {
		path = systemMacro
	}
	c := Catalog{schema: ownSource()}
	for component := range strings.SplitSeq(path, ":") {
		switch {
		case component == systemMacro:
			c.sources = append(c.sources, c.schema, directory(systemDir(), true))
		case component == "":
			return Catalog{}, elog.New(elog.Error, elog.InvalidName, "zero-length component in parameter \"%s\"", settings.ExtensionControlPath)
		case !filepath.IsAbs(component):
			return Catalog{}, elog.New(elog.Error, elog.InvalidName, "component in parameter \"%s\" is not an absolute path", settings.ExtensionControlPath).
				WithDetail("It is \"%s\".", component)
		default:
			c.sources = append(c.sources, directory(filepath.Join(component, "extension"), false))
		}
	}
	return c, nil
}

func directory(dir string, system bool) source { return source{os.DirFS(dir), dir, system} }

// systemDir is where packages of plugins may put their scripts.
func systemDir() string {
	program, err := os.Executable()
	if err != nil {
		return "/usr/share/pgexthost/extension"
	}
	return filepath.Join(filepath.Dir(filepath.Dir(program)), "share", "pgexthost", "extension")
}

// own reports whether the scripts are part of the program.
func (s source) own() bool { return s.system && s.dir == "" }

// location is how lists name the source. Mirrors what
// pg_available_extensions shows.
func (s source) location() string {
	if s.system {
		return systemMacro
	}
	return s.dir
}

// described is how messages name the source.
func (s source) described() string {
	switch {
	case s.dir == "":
		return "pgexthost itself"
	case s.missing():
		return "\"" + s.dir + "\" (which does not exist)"
	}
	return "\"" + s.dir + "\""
}

func (s source) missing() bool {
	_, err := fs.Stat(s.files, ".")
	return errors.Is(err, fs.ErrNotExist)
}

// path is how messages name a file of the source.
func (s source) path(file string) string { return filepath.Join(s.dir, file) }

// list returns the names of the files; none if there is no such directory.
func (s source) list() ([]string, error) {
	entries, err := fs.ReadDir(s.files, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, elog.New(elog.Error, elog.FileAccessCode(err), "could not open directory \"%s\": %s", s.dir, elog.OSReason(err)).WithCause(err)
	}
	files := make([]string, len(entries))
	for i, e := range entries {
		files[i] = e.Name()
	}
	return files, nil
}

// names returns the names of the extensions in the source.
func (s source) names() ([]string, error) {
	files, err := s.list()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		name, isControl := strings.CutSuffix(file, ".control")
		if one, ok := parseScriptName(file); ok && one.from == "" {
			name, isControl = one.name, true
		}
		if isControl && checkExtensionName(name) == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// find returns what the source has of an extension, or nil: a control file, or a
// script that installs it, makes it one.
func (s source) find(name string) (*extension, error) {
	files, err := s.list()
	if err != nil {
		return nil, err
	}
	e := &extension{name: name, source: s}
	there := slices.Contains(files, name+".control")
	if there {
		if e.control, err = s.readControl(name + ".control"); err != nil {
			return nil, err
		}
	}
	for _, file := range files {
		if one, ok := parseScriptName(file); ok && one.name == name {
			e.scripts = append(e.scripts, one)
			there = there || one.from == ""
		}
	}
	if !there {
		return nil, nil
	}
	return e, nil
}

// read returns the text of a file.
func (s source) read(file string) (string, error) {
	text, err := fs.ReadFile(s.files, file)
	if err != nil {
		return "", elog.New(elog.Error, elog.FileAccessCode(err), "could not read file \"%s\": %s", s.path(file), elog.OSReason(err)).WithCause(err)
	}
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 { // PostgreSQL has no character 0
		return "", elog.New(elog.Error, elog.CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\" in file \"%s\"", s.path(file))
	}
	return string(text), nil
}

// has reports whether there is such a file.
func (s source) has(file string) bool {
	_, err := fs.Stat(s.files, file)
	return !errors.Is(err, fs.ErrNotExist)
}
