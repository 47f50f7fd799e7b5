package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the tests of the product notice is for "make mutants" to find out. Here is
// only what it takes to keep the list fresh: that every break applies.
func TestEveryBreakAppliesToTheProductAsItIs(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	breaks, err := readBreaks("breaks")
	if err != nil {
		t.Fatal(err)
	}
	titles := make(map[string]bool)
	for _, b := range breaks {
		source, err := os.ReadFile(filepath.Join(root, b.file))
		if err == nil {
			_, err = b.apply(string(source))
		}
		if err != nil {
			t.Errorf("%s: %s: %v", b.where, b.title, err)
		}
		if titles[b.chapter+b.title] {
			t.Errorf("%s: a second break with the title %q", b.where, b.title)
		}
		titles[b.chapter+b.title] = true
		if len(b.packages()) == 0 {
			t.Errorf("%s: no package to test", b.where)
		}
	}
}

func TestABreakReplacesLinesThatStandThereOnce(t *testing.T) {
	parsed, err := parseBreaks("x.txt", "# a comment\n\n## the title\nin a.go\ntest ./x -run Y\n-\tone\n-\ttwo\n+\tthree\n")
	if err != nil || len(parsed) != 1 {
		t.Fatalf("got %v, %v", parsed, err)
	}
	b := parsed[0]
	if b.chapter != "x" || b.title != "the title" || strings.Join(b.test, "|") != "./x|-run|Y" || strings.Join(b.packages(), "") != "./x" {
		t.Errorf("got %+v", b)
	}
	for source, want := range map[string]string{
		"\tone\n\ttwo\n":               "\tthree\n",
		"zero\n\tone\n\ttwo\nfour\n":   "zero\n\tthree\nfour\n",
		"zero\n\tone\n":                "",
		"\tone\n\ttwo\n\tone\n\ttwo\n": "",
		"x\tone\n\ttwo\n":              "",
	} {
		got, err := b.apply(source)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", source, got, err)
		}
	}
}

func TestABreakThatLacksAnythingIsRefused(t *testing.T) {
	for _, text := range []string{
		"in a.go\n", "## t\nin a.go\ntest ./x\n", "## t\ntest ./x\n-a\n", "## t\nin a.go\n-a\n",
		"## t\nin a.go\ntest ./x\n-a\n+b\n-c\n", "## t\nnonsense\n",
	} {
		if got, err := parseBreaks("x.txt", text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}
