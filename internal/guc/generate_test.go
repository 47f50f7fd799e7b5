package guc_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

// fileTree is a generated configuration: texts by path relative to a directory,
// with the names that the host or PostgreSQL gives the two main files.
type fileTree struct {
	seed  uint64
	files map[string]string
}

const (
	mainName = "postgresql.conf"
	autoName = "postgresql.auto.conf"
	subDir   = "generated" // for everything else
)

// write puts the tree below dir, in the place of the one before.
func (f fileTree) write(t *testing.T, dir string) (main, auto string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, subDir)); err != nil {
		t.Fatal(err)
	}
	for name, text := range f.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, mainName), filepath.Join(dir, autoName)
}

func (f fileTree) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d", f.seed)
	for name, text := range f.files {
		fmt.Fprintf(&b, "\n%s: %q", name, text)
	}
	return b.String()
}

// generator writes configuration files out of a grammar. Its moods make most
// files free of one kind of mistake or another, so that what comes after the
// mistake is tested, too.
type generator struct {
	*rand.Rand
	defs  []guc.Definition
	tree  fileTree
	tame  bool // nothing in values that PostgreSQL keeps and we refuse
	loops int  // how many more includes may lead into a circle

	syntaxErrors, unknownNames, badValues, badIncludes bool
}

// generate returns the tree of a seed. The same seed makes the same tree.
func generate(seed uint64, defs []guc.Definition, tame bool) fileTree {
	g := generator{
		Rand: rand.New(rand.NewPCG(seed, 0)), defs: defs, tame: tame, loops: 1,
		tree: fileTree{seed: seed, files: map[string]string{}},
	}
	g.syntaxErrors, g.unknownNames, g.badIncludes, g.badValues = g.chance(0.25), g.chance(0.15), g.chance(0.25), g.chance(0.5)
	g.file(mainName, 0)
	g.tree.files[autoName] = ""
	if g.chance(0.3) {
		g.file(autoName, 3)
	}
	return g.tree
}

func (g *generator) chance(p float64) bool { return g.Float64() < p }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// some joins up to n results of f.
func (g *generator) some(n int, f func() string) string {
	var b strings.Builder
	for range g.IntN(n + 1) {
		b.WriteString(f())
	}
	return b.String()
}

// file makes a file of the tree, and what it includes.
func (g *generator) file(path string, depth int) {
	g.tree.files[path] = "" // taken
	var b strings.Builder
	for range g.IntN(7) {
		b.WriteString(g.line(path, depth))
		b.WriteString(pick(g, "\n", "\n", "\n", "\n", "\r\n"))
	}
	if g.chance(0.3) {
		b.WriteString(g.line(path, depth)) // without a newline
	}
	g.tree.files[path] = b.String()
}

func (g *generator) line(path string, depth int) string {
	switch {
	case g.chance(0.1):
		return g.blank()
	case g.chance(0.1):
		return g.blank() + g.comment()
	case g.syntaxErrors && g.chance(0.2):
		return g.junk()
	case depth < 3 && g.chance(0.2):
		return g.statement(pick(g, "include", "include", "INCLUDE", "include_if_exists", "include_dir"), path, depth)
	}
	return g.statement("", path, depth)
}

func (g *generator) blank() string {
	return g.some(2, func() string { return pick(g, " ", "\t", "  ", "\r") })
}

func (g *generator) comment() string {
	return "#" + g.some(6, func() string { return pick(g, "a", "'", "=", " ", "#", "\\", "é", "\xff", "\x00", "\r") })
}

// statement is an assignment, or the directive given.
func (g *generator) statement(directive, path string, depth int) string {
	var name, value string
	if directive != "" {
		name, value = directive, g.include(strings.ToLower(directive), path, depth)
	} else {
		name, value = g.assignment()
	}
	equals := pick(g, " = ", "=", "\t=", " ", "  ")
	if strings.HasPrefix(value, "'") && g.chance(0.1) {
		equals = ""
	}
	line := g.blank() + name + equals + value + g.blank()
	if g.chance(0.15) {
		line += g.comment()
	}
	return line
}

// include makes what a directive shall find, and returns how it calls that.
func (g *generator) include(directive, path string, depth int) string {
	if g.badIncludes && g.chance(0.5) {
		return g.badInclude(path)
	}
	name := fmt.Sprintf("%c%d", 'a'+g.IntN(3), len(g.tree.files))
	if directive != "include_dir" {
		if directive == "include_if_exists" && g.chance(0.5) {
			return quote("missing.conf")
		}
		target := filepath.Join(subDir, pick(g, "", "d", "e/f"), name)
		g.file(target, depth+1)
		return g.relative(path, target)
	}
	dir := filepath.Join(subDir, name)
	g.file(filepath.Join(dir, "only.conf"), depth+1) // there must be one for the directory to be there
	for _, file := range []string{"z.conf", "A.conf", "0.conf", "é.conf", ".hidden.conf", ".conf", "x.conf~", "conf", "sub.conf/x.conf"} {
		if g.chance(0.3) {
			g.file(filepath.Join(dir, file), depth+1)
		}
	}
	return g.relative(path, dir)
}

func (g *generator) badInclude(path string) string {
	if g.loops > 0 && g.chance(0.4) {
		g.loops--
		return g.relative(path, mainName)
	}
	return pick(g, "''", "' '", `'\t'`, "missing", "'/dev/null/x'", g.relative(path, path), g.relative(path, "."), "'../"+subDir+"'")
}

// relative names target as seen from the directory of path.
func (g *generator) relative(path, target string) string {
	name, err := filepath.Rel(filepath.Dir(path), target)
	if err != nil {
		panic(err)
	}
	if g.chance(0.2) {
		name = "./" + name
	}
	return quote(name)
}

func quote(s string) string {
	return "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(s) + "'"
}
