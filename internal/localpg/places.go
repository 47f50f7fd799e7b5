package localpg

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// packagePlaces are glob patterns, most likely first; among the matches of one
// pattern the highest version wins.
var packagePlaces = []struct{ source, pattern string }{
	{"Debian and Ubuntu", "usr/lib/postgresql/*/bin"},
	{"Red Hat (PGDG)", "usr/pgsql-*/bin"},
	{"SUSE", "usr/lib/postgresql[0-9]*/bin"},
	{"Alpine", "usr/libexec/postgresql[0-9]*"},
	{"built from source", "usr/local/pgsql/bin"},
	{"Homebrew", "opt/homebrew/opt/postgresql@*/bin"},
	{"Homebrew", "usr/local/opt/postgresql@*/bin"},
	{"Homebrew", "home/linuxbrew/.linuxbrew/opt/postgresql@*/bin"},
}

// fromPgConfig asks the first pg_config on PATH. It may belong to a client-only
// installation, and is then found out by examine.
func (f finder) fromPgConfig(ctx context.Context) ([]place, Attempt) {
	const source = "pg_config --bindir"
	for _, dir := range filepath.SplitList(f.getenv("PATH")) {
		program := filepath.Join(dir, "pg_config")
		if !filepath.IsAbs(program) || !isProgram(program) {
			continue
		}
		bindir, err := ask(ctx, nil, program, "--bindir")
		if err != nil {
			return nil, Attempt{source, "", err.Error()}
		}
		return []place{{source, bindir}}, Attempt{}
	}
	return nil, Attempt{source, "", "no pg_config on PATH"}
}

func (f finder) fromPath(context.Context) ([]place, Attempt) {
	var places []place
	for _, dir := range filepath.SplitList(f.getenv("PATH")) {
		if filepath.IsAbs(dir) && isProgram(filepath.Join(dir, "postgres")) {
			places = append(places, place{"PATH", dir})
		}
	}
	return places, Attempt{"PATH", "", "no program \"postgres\" on it"}
}

func (f finder) fromPackages(context.Context) ([]place, Attempt) {
	var places []place
	var patterns []string
	for _, p := range packagePlaces {
		patterns = append(patterns, filepath.Join(f.root, p.pattern))
		dirs, err := filepath.Glob(patterns[len(patterns)-1])
		if err != nil {
			continue // a bad pattern: cannot be, they are constants
		}
		slices.SortStableFunc(dirs, func(a, b string) int { return -compareVersions(a, b) })
		for _, dir := range dirs {
			places = append(places, place{p.source, dir})
		}
	}
	return places, Attempt{"packages", "", "none of " + strings.Join(patterns, ", ")}
}

// compareVersions orders paths that differ in a version number: 9.6 is before
// 10, which string order gets wrong.
func compareVersions(a, b string) int {
	return slices.CompareFunc(numbersIn(a), numbersIn(b), cmp.Compare[int])
}

func numbersIn(s string) []int {
	var numbers []int
	for _, field := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(field)
		if err != nil {
			n = 0 // out of range: no version
		}
		numbers = append(numbers, n)
	}
	return numbers
}
