package main

import (
	"os"
	"strings"
	"testing"
)

func TestTheManualListsEveryCommand(t *testing.T) {
	manual, err := os.ReadFile("../../docs/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"config check", "config show", "plugin new", "plugin check", "plugin list", "plugin reload", "extension list"}
	for _, c := range commands() {
		names = append(names, c.name)
	}
	for _, name := range names {
		if !strings.Contains(string(manual), "\n| `"+name+" ") && !strings.Contains(string(manual), ", `"+name+" ") {
			t.Errorf("docs/OPERATING.md has no row for %s", name)
		}
	}
}
