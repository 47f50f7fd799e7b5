package scaffold

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Options say what to write.
type Options struct {
	Name    string   // of the library and of its directory
	Module  string   // the module's path; empty for example.com/Name
	Replace string   // a checkout of this module to build against, or empty
	Taken   []string // names that are not free
}

//go:embed template
var templates embed.FS

// files are what a module has, by template.
var files = map[string]string{
	"main.go.tmpl": "main.go", "main_test.go.tmpl": "main_test.go", "README.md.tmpl": "README.md", "gitignore.tmpl": ".gitignore", "go.mod.tmpl": "go.mod",
}

// Write makes the directory Name in the directory parent. If it returns an error,
// nothing is left of it. The error is an *elog.ErrorData: 42602 for a name that is
// none, 58P02 if there is such a directory already.
//
// Incomplete says that the module lacks checksums, and why "go mod tidy" could not
// add them: it is the one thing that is left to do.
func Write(ctx context.Context, parent string, o Options) (incomplete *elog.ErrorData, err error) {
	if o.Module == "" {
		o.Module = "example.com/" + o.Name
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	dir := filepath.Join(parent, o.Name)
	if _, err := os.Lstat(dir); err == nil {
		return nil, elog.New(elog.Error, elog.DuplicateFile, "\"%s\" exists already", dir).WithHint("Choose another name, or another directory to be in.")
	}
	m, err := o.module()
	if err != nil {
		return nil, err
	}
	// Made beside and moved, it is there as a whole, or not at all.
	temp, err := os.MkdirTemp(parent, "."+o.Name+".new-")
	if err != nil {
		return nil, cannotCreate("directory", dir, err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if err := m.write(temp); err != nil {
		return nil, err
	}
	incomplete = complete(ctx, temp)
	if ctx.Err() != nil {
		return nil, elog.New(elog.Error, elog.QueryCanceled, "interrupted").WithCause(ctx.Err())
	}
	if err := os.Rename(temp, dir); err != nil {
		return nil, cannotCreate("directory", dir, err)
	}
	return incomplete, nil
}

func (m *module) write(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // a source directory is no secret; the umask of MkdirTemp is
		return cannotCreate("directory", dir, err)
	}
	all, err := template.ParseFS(templates, "template/*")
	if err != nil {
		return err
	}
	for name, file := range files {
		var text strings.Builder
		if err := all.ExecuteTemplate(&text, name, m); err != nil {
			return err
		}
		if err := create(filepath.Join(dir, file), text.String()); err != nil {
			return err
		}
	}
	if m.sums == "" {
		return nil
	}
	return create(filepath.Join(dir, "go.sum"), m.sums)
}

func create(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // likewise
		return cannotCreate("file", path, err)
	}
	return nil
}

func cannotCreate(what, path string, err error) *elog.ErrorData {
	e := elog.New(elog.Error, elog.FileAccessCode(err), "could not create %s \"%s\": %s", what, path, elog.OSReason(err)).WithCause(err)
	if errors.Is(err, fs.ErrPermission) {
		e.Hint = "It is made in the current directory."
	}
	return e
}
