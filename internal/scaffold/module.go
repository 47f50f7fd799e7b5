package scaffold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/version"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// goVersion is the language version of this module, which a module that requires
// it can't be below.
const goVersion = "1.26.0"

// What the templates import, and what that imports in turn. With all of it in
// go.mod the go command has nothing to look for.
var (
	direct   = []string{"github.com/jackc/pgx/v5", handshake.Module}
	indirect = []string{"github.com/coreos/go-systemd/v22", "github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile", "golang.org/x/sys", "golang.org/x/text"}
)

// requirement is a line of go.mod.
type requirement struct{ Path, Version string }

// module is what the templates are about.
type module struct {
	Name, Module, Go, Replace string
	Direct, Indirect          []requirement

	sums string // go.sum, if it is known
}

// module finds out what go.mod has to say.
func (o *Options) module() (*module, error) {
	m := &module{Name: o.Name, Module: o.Module, Go: goVersion}
	versions := ownVersions()
	if o.Replace != "" {
		dir, err := filepath.Abs(o.Replace)
		if err != nil {
			return nil, noCheckout(o.Replace, err)
		}
		versions, m.sums, err = readCheckout(dir)
		if err != nil {
			return nil, err
		}
		m.Replace = quotePath(dir)
	}
	m.Direct, m.Indirect = require(direct, versions), require(indirect, versions)
	return m, nil
}

// require leaves out what is not known: "go mod tidy" finds it.
func require(paths []string, versions map[string]string) (lines []requirement) {
	for _, path := range paths {
		if v, ok := versions[path]; ok {
			lines = append(lines, requirement{path, v})
		}
	}
	return lines
}

// ownVersions are those that this program was built with.
func ownVersions() map[string]string {
	versions := map[string]string{handshake.Module: "v" + version.Number}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	if isRelease(info.Main) {
		versions[handshake.Module] = info.Main.Version
	}
	for _, dep := range info.Deps {
		versions[dep.Path] = dep.Version
	}
	return versions
}

// isRelease reports whether others can get that version of this module: it
// was not made from a working tree. The go command can't get what was changed, and
// may not have seen what was committed last.
func isRelease(m debug.Module) bool {
	return m.Path == handshake.Module && m.Sum != "" && m.Version != "(devel)"
}

var (
	moduleLine  = regexp.MustCompile(`(?m)^module\s+(\S+)\s*$`)
	requireLine = regexp.MustCompile(`(?m)^(?:require)?\s+(\S+) (v\S+)(?: // indirect)?$`)
)

// readCheckout returns the versions that the module in a directory requires, and
// its checksums.
func readCheckout(dir string) (versions map[string]string, sums string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, "", noCheckout(dir, err)
	}
	if m := moduleLine.FindSubmatch(text); m == nil || string(m[1]) != handshake.Module {
		return nil, "", elog.New(elog.Error, elog.WrongObjectType, "directory \"%s\" has another module in it", dir).
			WithHint("--replace is for a checkout of %s.", handshake.Module)
	}
	versions = map[string]string{handshake.Module: "v" + version.Number}
	for _, m := range requireLine.FindAllSubmatch(text, -1) {
		versions[string(m[1])] = string(m[2])
	}
	all, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		return nil, "", noCheckout(dir, err)
	}
	return versions, string(all), nil
}

func noCheckout(dir string, err error) *elog.ErrorData {
	return elog.New(elog.Error, elog.FileAccessCode(err), "could not read the module in directory \"%s\": %s", dir, elog.OSReason(err)).WithCause(err).
		WithHint("--replace is for a checkout of %s.", handshake.Module)
}

// quotePath writes a path as go.mod has it.
func quotePath(path string) string {
	if strings.ContainsAny(path, " \t\"'`()[]{},\\") || strings.Contains(path, "//") {
		return fmt.Sprintf("%q", path)
	}
	return path
}

// complete has the go command add what go.mod and go.sum lack, and returns why it
// couldn't, or nil. With a checkout they lack nothing, and no network is needed.
func complete(ctx context.Context, dir string) *elog.ErrorData {
	if _, err := goCommand(ctx, dir, "list", "-mod=readonly", "-deps", "-test", "."); err == nil {
		return nil
	}
	reason, err := goCommand(ctx, dir, "mod", "tidy")
	if err == nil {
		return nil
	}
	problem := elog.New(elog.Warning, elog.UndefinedFile, "could not complete go.mod and go.sum").WithDetail("%s", firstLine(reason, err)).WithCause(err).
		WithHint("Run \"go mod tidy\" there. If version %s can't be had, build against a checkout: --replace DIR.", "v"+version.Number)
	if errors.Is(err, exec.ErrNotFound) {
		problem.Hint = "Install Go, or add it to PATH, and run \"go mod tidy\" there."
	}
	return problem
}

// InWorkspace reports whether the go command takes a directory for a part of a
// workspace (go.work). A module in it is built only once "go work use" has
// added it.
func InWorkspace(ctx context.Context, dir string) bool {
	cmd := exec.CommandContext(ctx, "go", "env", "GOWORK")
	cmd.Dir = dir
	out, err := cmd.Output()
	file := strings.TrimSpace(string(out))
	return err == nil && file != "" && file != "off"
}

// goCommand runs the go command, and returns what it has said on standard error.
func goCommand(ctx context.Context, dir string, args ...string) (said string, err error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	err = cmd.Run()
	return strings.TrimSpace(stderr.String()), err
}

// firstLine returns the first thing that the go command has complained about: what
// follows is the same of other packages.
func firstLine(said string, err error) string {
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "go: downloading ") && !strings.HasSuffix(line, " imports") {
			return line
		}
	}
	return err.Error()
}
