package sql

import (
	"embed"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SchemaExtension is the name of the extension that is schema pgexthost itself,
// on which all others depend.
const SchemaExtension = "pgexthost"

//go:embed scripts/*.sql
var embedded embed.FS

// Scripts returns the catalog of the scripts that this program has.
func Scripts() Catalog {
	scripts, err := fs.Sub(embedded, "scripts")
	if err != nil {
		panic(err) // the name is a constant
	}
	return Catalog{scripts}
}

// Catalog is a directory of scripts.
type Catalog struct{ scripts fs.FS }

// NewCatalog returns the catalog of a directory of scripts.
func NewCatalog(scripts fs.FS) Catalog { return Catalog{scripts} }

// Names returns the names of the extensions, in alphabetical order.
func (c Catalog) Names() []string {
	var names []string
	for _, s := range c.list() {
		if s.from == "" && !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	slices.Sort(names)
	return names
}

// Latest returns the highest version of an extension that can be installed, or "".
func (c Catalog) Latest(name string) string {
	latest := ""
	for _, s := range c.list() {
		if s.name == name && compareVersions(s.to, latest) > 0 {
			latest = s.to
		}
	}
	return latest
}

// script is a file that leads from one version to another; from none if it
// installs.
type script struct{ file, name, from, to string }

func (c Catalog) list() []script {
	files, err := fs.Glob(c.scripts, "*--*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var all []script
	for _, file := range files {
		words := strings.Split(strings.TrimSuffix(file, ".sql"), "--")
		switch {
		case len(words) == 2 && words[1] != "drop":
			all = append(all, script{file, words[0], "", words[1]})
		case len(words) == 3:
			all = append(all, script{file, words[0], words[1], words[2]})
		}
	}
	return all
}

// path returns the fewest scripts that lead from a version, or from none, to
// another; nil if none do. Mirrors identify_update_path and find_install_path.
func (c Catalog) path(name, from, to string) []script {
	all := c.list()
	reached := map[string][]script{from: {}}
	for frontier := []string{from}; len(frontier) > 0; frontier = frontier[1:] {
		at := frontier[0]
		if at == to {
			return reached[at]
		}
		for _, s := range all {
			if _, known := reached[s.to]; s.name == name && s.from == at && !known {
				reached[s.to] = append(slices.Clone(reached[at]), s)
				frontier = append(frontier, s.to)
			}
		}
	}
	return nil
}

// read returns the text of a script for a schema.
func (c Catalog) read(file, schema string) (string, error) {
	text, err := fs.ReadFile(c.scripts, file)
	if err != nil {
		return "", elog.New(elog.Error, elog.FileAccessCode(err), "could not read script \"%s\"", file).WithCause(err)
	}
	return strings.ReplaceAll(string(text), "@extschema@", quoteIdentifier(schema)), nil
}

// has reports whether there is such a file.
func (c Catalog) has(file string) bool {
	_, err := fs.Stat(c.scripts, file)
	return !errors.Is(err, fs.ErrNotExist)
}

// compareVersions compares dotted numbers; what is none counts as 0.
func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		if d := versionPart(x, i) - versionPart(y, i); d != 0 {
			return d
		}
	}
	return 0
}

func versionPart(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.Atoi(parts[i])
	return n
}

func quoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
