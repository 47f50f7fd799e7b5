package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readDocuments returns the text of each document of the project, by its path from
// this directory.
func readDocuments(t *testing.T) map[string]string {
	t.Helper()
	documents := make(map[string]string)
	walkTheTree(t, func(path string) {
		if strings.HasSuffix(path, ".md") {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			documents[path] = string(text)
		}
	})
	if len(documents) < 10 {
		t.Fatalf("found %d documents only", len(documents))
	}
	return documents
}

// walkTheTree visits the files of the project.
func walkTheTree(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && (name == ".git" || name == ".tools" || name == "testdata"):
			return filepath.SkipDir
		case entry.Type().IsRegular():
			visit(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
)

// Files are there, and have the headings that links lead to. What is elsewhere on
// the net is not looked at.
func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	links := 0
	for path, text := range readDocuments(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(path), filepath.FromSlash(file))
			if file == "" {
				target = path
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", path, m[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchorsOf(t, target), anchor) {
				t.Errorf("%s: %s has no heading for #%s", path, target, anchor)
			}
		}
	}
	if links < 50 {
		t.Errorf("found %d links only: has the form changed?", links)
	}
}

func anchorsOf(t *testing.T, path string) (anchors []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heading.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
		anchors = append(anchors, anchorOf(h[1]))
	}
	return anchors
}

// anchorOf is what GitHub makes of a heading.
func anchorOf(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case strings.ContainsRune(".,:;'\"()`/?!", r):
			return -1
		}
		return r
	}, strings.ToLower(title))
}

// Above all those that SECURITY.md has for its claims.
func TestEveryTestThatADocumentNamesExists(t *testing.T) {
	tests := make(map[string]bool)
	declaration := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	walkTheTree(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_test.go.tmpl") {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declaration.FindAllStringSubmatch(string(text), -1) {
				tests[m[1]] = true
			}
		}
	})
	named := 0
	for path, text := range readDocuments(t) {
		for _, m := range regexp.MustCompile("`(Test[A-Z]\\w+)`").FindAllStringSubmatch(text, -1) {
			named++
			if !tests[m[1]] {
				t.Errorf("%s: there is no %s", path, m[1])
			}
		}
	}
	if named < 40 {
		t.Errorf("found %d names of tests only: has the form changed?", named)
	}
}

func TestEveryTargetOfMakeThatADocumentNamesExists(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for path, text := range readDocuments(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^\\$ )make ([a-z][a-z-]*)").FindAllStringSubmatch(text, -1) {
			named++
			if !regexp.MustCompile("(?m)^" + m[1] + ":").Match(makefile) {
				t.Errorf("%s: there is no make %s", path, m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("found %d targets only: has the form changed?", named)
	}
}
