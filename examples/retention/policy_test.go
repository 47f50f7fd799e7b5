package main

import (
	"strings"
	"testing"
)

// insertPolicy returns the statement that gives a table a policy, from
// "column => value, …".
func insertPolicy(parent, columns string) string {
	names, values := []string{"parent"}, []string{"'" + strings.ReplaceAll(parent, "'", "''") + "'"}
	for _, pair := range strings.Split(columns, ", ") {
		name, value, _ := strings.Cut(pair, " => ")
		names, values = append(names, name), append(values, value)
	}
	return "INSERT INTO retention.policy (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
}

func (d *database) policy(parent, columns string) {
	d.Helper()
	d.exec(insertPolicy(parent, columns))
}

// problems returns what was reported as one, on lines.
func (m *testManager) problems() string {
	var found []string
	for _, line := range strings.Split(m.log(), "\n") {
		if strings.HasPrefix(line, "WARNING") || strings.Contains(line, "could not") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "\n")
}

// wantProblem demands that exactly one was reported, with a text, and wantNone none.
func (m *testManager) wantProblem(t testing.TB, text string) {
	t.Helper()
	if got := m.problems(); !strings.Contains(got, text) || strings.Contains(got, "\n") {
		t.Errorf("problems: got %q, want one with %q", got, text)
	}
}

func (m *testManager) wantNone(t testing.TB) {
	t.Helper()
	if got := m.problems(); got != "" {
		t.Errorf("problems: got %s", got)
	}
}
