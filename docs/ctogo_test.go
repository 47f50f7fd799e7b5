// Package docs tests what the documents say against the code.
package docs

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const guide = "C-TO-GO.md"

// row is a line of a table: its cells, and where it stands.
type row struct {
	section string
	line    int
	cells   []string
}

// rowsOf returns the rows of all tables of four columns, without their heads.
func rowsOf(t *testing.T, text string) []row {
	t.Helper()
	var rows []row
	section := ""
	for i, line := range strings.Split(text, "\n") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| C ") || strings.HasPrefix(line, "| message ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for j := range cells {
			cells[j] = strings.TrimSpace(cells[j])
		}
		if len(cells) != 4 {
			t.Errorf("%s:%d: a row of %d cells", guide, i+1, len(cells))
			continue
		}
		rows = append(rows, row{section, i + 1, cells})
	}
	return rows
}

func readGuide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var quoted = regexp.MustCompile("`([^`]+)`")

// namesIn returns what stands in backquotes.
func namesIn(cell string) []string {
	var names []string
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		names = append(names, m[1])
	}
	return names
}

func TestEveryNameOfBgworkerHasARowInItsOrder(t *testing.T) {
	got := make(map[string][]string)
	for _, r := range rowsOf(t, readGuide(t)) {
		if r.section != "Messages" {
			got[r.section] = append(got[r.section], namesIn(r.cells[0])...)
		}
	}
	for section, list := range namesOfC {
		want := strings.Fields(list)
		for _, name := range want {
			if !slices.Contains(got[section], name) {
				t.Errorf("section %q has no row for %s", section, name)
			}
		}
		for i, name := range got[section] {
			if !slices.Contains(want, name) {
				t.Errorf("section %q has a row for %s, which is not in the list", section, name)
			} else if i < len(want) && want[i] != name && slices.Contains(got[section], want[i]) {
				t.Errorf("section %q has %s where %s comes in C", section, name, want[i])
				break
			}
		}
	}
	for section := range got {
		if namesOfC[section] == "" {
			t.Errorf("section %q has rows, but no list of names", section)
		}
	}
}

func TestEveryGoNameIsDeclaredWhereTheGuideSays(t *testing.T) {
	code := readCode(t)
	for _, r := range rowsOf(t, readGuide(t)) {
		if r.section == "Messages" {
			continue
		}
		names, files := namesIn(r.cells[1]), namesIn(r.cells[2])
		if len(names) == 0 {
			if r.cells[1] != "**none**" && r.cells[1] != "**not yet**" || len(files) > 0 || r.cells[3] == "" {
				t.Errorf("%s:%d: no counterpart, and not why", guide, r.line)
			}
			continue
		}
		for _, name := range names {
			if !slices.ContainsFunc(files, func(file string) bool { return code[file][name] }) {
				t.Errorf("%s:%d: %s is not declared in %s", guide, r.line, name, r.cells[2])
			}
		}
		for _, file := range files {
			if !slices.ContainsFunc(names, func(name string) bool { return code[file][name] }) {
				t.Errorf("%s:%d: %s declares nothing of %s", guide, r.line, file, r.cells[1])
			}
		}
	}
}

// Not only in the tables.
func TestEveryGoNameInTheTextExists(t *testing.T) {
	code := readCode(t)
	packages, declared := make(map[string]bool), make(map[string]bool)
	for _, names := range code {
		for name := range names {
			pkg, _, _ := strings.Cut(name, ".")
			packages[pkg], declared[name] = true, true
		}
	}
	inCode := false
	for i, line := range strings.Split(readGuide(t), "\n") {
		if strings.HasPrefix(line, "```") {
			inCode = !inCode
		}
		if inCode {
			continue
		}
		for _, name := range namesIn(line) {
			pkg, rest, isQualified := strings.Cut(name, ".")
			if isQualified && packages[pkg] && !strings.Contains(rest, "/") && !declared[name] {
				t.Errorf("%s:%d: there is no %s", guide, i+1, name)
			}
		}
	}
}

func TestMessagesStandInTheCodeWordForWordWithTheirSQLSTATEs(t *testing.T) {
	messages := 0
	for _, r := range rowsOf(t, readGuide(t)) {
		if r.section != "Messages" {
			continue
		}
		messages++
		text, state := strings.Trim(r.cells[0], "`"), r.cells[1]
		files := namesIn(r.cells[2])
		if len(files) == 0 && r.cells[2] != "**none**" && r.cells[2] != "**not yet**" {
			t.Errorf("%s:%d: no file", guide, r.line)
		}
		for _, file := range files {
			switch got, found := messageIn(t, file, text); {
			case !found:
				t.Errorf("%s:%d: %s has no message %q", guide, r.line, file, text)
			case got != state:
				t.Errorf("%s:%d: %s gives %q the SQLSTATE %q, not %q", guide, r.line, file, text, got, state)
			}
		}
	}
	if messages < 20 {
		t.Errorf("%d messages were found, where there are at least 20", messages)
	}
}
