package sql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// dropWord stands in the place of the version in the name of a script that drops.
const dropWord = "drop"

// script is a file that leads from one version to another; from none if it
// installs.
type script struct{ file, name, from, to string }

// parseScriptName takes the name of a file apart. Mirrors get_ext_ver_list.
func parseScriptName(file string) (script, bool) {
	stem, isSQL := strings.CutSuffix(file, ".sql")
	words := strings.Split(stem, "--")
	if !isSQL || len(words) < 2 || checkExtensionName(words[0]) != nil || words[len(words)-1] == dropWord {
		return script{}, false
	}
	for _, version := range words[1:] {
		if checkVersionName(version) != nil {
			return script{}, false
		}
	}
	switch len(words) {
	case 2:
		return script{file, words[0], "", words[1]}, true
	case 3:
		return script{file, words[0], words[1], words[2]}, true
	}
	return script{}, false
}

// path returns the fewest scripts that lead from a version, or from none, to
// another; nil if none do. Mirrors identify_update_path and find_install_path.
func (e *extension) path(from, to string) []script {
	reached := map[string][]script{from: {}}
	for frontier := []string{from}; len(frontier) > 0; frontier = frontier[1:] {
		at := frontier[0]
		if at == to {
			return reached[at]
		}
		for _, s := range e.scripts {
			if _, known := reached[s.to]; s.from == at && !known {
				reached[s.to] = append(slices.Clone(reached[at]), s)
				frontier = append(frontier, s.to)
			}
		}
	}
	return nil
}

// installPath returns the scripts that install the extension.
func (e *extension) installPath() ([]script, error) { return e.installPathTo(e.version()) }

// installPathTo returns the scripts that install a version of it.
func (e *extension) installPathTo(to string) ([]script, error) {
	if to != "" {
		if e := checkVersionName(to); e != nil {
			return nil, e
		}
	}
	path := e.path("", to)
	switch {
	case to == "":
		return nil, elog.New(elog.Error, elog.InvalidParameterValue, "extension \"%s\" has no installation script", e.name).
			WithDetail("There is no file \"%s\".", e.source.path(e.name+"--VERSION.sql"))
	case path == nil:
		return nil, elog.New(elog.Error, elog.InvalidParameterValue, "extension \"%s\" has no installation script nor update path for version \"%s\"", e.name, to).
			WithDetail("There is no file \"%s\", nor one of another version from which others lead there.", e.source.path(e.name+"--"+to+".sql"))
	}
	return path, nil
}

// upgradePath returns the scripts that lead from a version that is installed to
// the one that there is.
func (e *extension) upgradePath(from string) ([]script, error) {
	to := e.version()
	path := e.path(from, to)
	if path != nil && compareVersions(from, to) <= 0 {
		return path, nil
	}
	report := elog.New(elog.Error, elog.InvalidParameterValue, "extension \"%s\" has no update path from version \"%s\" to version \"%s\"", e.name, from, to)
	switch {
	case compareVersions(from, to) <= 0:
		report = report.WithDetail("There is no file \"%s\", nor others that lead there.", e.source.path(e.name+"--"+from+"--"+to+".sql"))
	case e.source.own():
		report = report.WithDetail("A later version is installed.").WithHint("Use a pgexthost that knows version \"%s\".", from)
	default:
		report = report.WithDetail("A later version is installed than \"%s\" has.", e.source.dir).WithHint("Use the plugin's scripts of version \"%s\".", from)
	}
	return nil, report
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
