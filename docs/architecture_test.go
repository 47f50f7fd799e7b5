package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What stands in backquotes and looks like a file or folder of the project is
// one, and a name "in" a file is declared there.
func TestWhatTheArchitectureNamesIsThere(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	paths := regexp.MustCompile("`([a-z]+/[a-z_/.]*)`").FindAllStringSubmatch(string(text), -1)
	for _, m := range paths {
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil && m[1] != "sql/" { // yet to come, it says
			t.Errorf("there is no %s", m[1])
		}
	}
	names := regexp.MustCompile("`([A-Za-z]+)` in `([a-z_/.]+)`").FindAllStringSubmatch(string(text), -1)
	for _, m := range names {
		if !declares(readCode(t)[m[2]], m[1]) {
			t.Errorf("%s declares no %s", m[2], m[1])
		}
	}
	if len(paths) < 30 || len(names) < 4 {
		t.Errorf("found %d paths and %d names only: has the form changed?", len(paths), len(names))
	}
}

func declares(d declarations, name string) bool {
	for declared := range d {
		if strings.HasSuffix(declared, "."+name) {
			return true
		}
	}
	return false
}
