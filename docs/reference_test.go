package docs

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/localpg"
	"github.com/pgexthost/pgexthost/internal/settings"
)

var update = flag.Bool("update", false, "write what is generated into REFERENCE.md and MESSAGES.md; what tables say in their last column is kept")

// The parts of REFERENCE.md that are generated say what there is. They are kept in
// the tree, so that people can read them; go test ./docs -run Reference -update
// writes them.

func TestTheReferenceHasEverySetting(t *testing.T) {
	definitions := settings.Definitions()
	generated(t, "REFERENCE.md", "settings", func(string) string { return settingsTable(definitions) })
}

func TestTheReferenceHasEverySettingOfWorkerSpi(t *testing.T) {
	prefix := t.TempDir()
	buildPrograms(t, prefix)
	var checked struct {
		Settings []struct {
			Definition guc.Definition
		}
	}
	if err := json.Unmarshal([]byte(printedBy(t, prefix, "bin/pgexthost plugin check lib/pgexthost/worker_spi --json")), &checked); err != nil {
		t.Fatal(err)
	}
	var definitions []guc.Definition
	for _, s := range checked.Settings {
		definitions = append(definitions, s.Definition)
	}
	if len(definitions) < 4 {
		t.Fatalf("worker_spi has %d settings only", len(definitions))
	}
	generated(t, "REFERENCE.md", "worker_spi's settings", func(string) string { return settingsTable(definitions) })
}

func settingsTable(definitions []guc.Definition) string {
	var out strings.Builder
	out.WriteString("| setting | type | default | values | context | |\n|---|---|---|---|---|---|\n")
	for _, d := range definitions {
		kind := d.Type.String()
		if d.Unit != guc.UnitNone {
			kind += ", in " + d.Unit.String()
		}
		var values string
		switch d.Type {
		case guc.TypeInt:
			values = fmt.Sprintf("%d to %d", d.Min, d.Max)
		case guc.TypeEnum:
			values = "`" + strings.Join(d.EnumOptions, "`, `") + "`"
		}
		value := d.Default
		if value == "" {
			value = "''"
		}
		text := strings.TrimSpace(d.ShortDesc + " " + d.LongDesc)
		fmt.Fprintf(&out, "| `%s` | %s | `%s` | %s | %s | %s |\n", d.Name, kind, value, values, d.Context, strings.ReplaceAll(text, "|", `\|`))
	}
	return out.String()
}

// What each program says about itself, command by command.
func TestTheReferenceHasEveryCommandAndOption(t *testing.T) {
	prefix := t.TempDir()
	buildPrograms(t, prefix)
	generated(t, "REFERENCE.md", "commands", func(string) string {
		var out strings.Builder
		for _, name := range subcommandsOf(t, prefix) {
			fmt.Fprintf(&out, "### pgexthost %s\n\n```\n%s```\n\n", name, printedBy(t, prefix, "bin/pgexthost "+name+" --help"))
		}
		return out.String()
	})
	generated(t, "REFERENCE.md", "libraries", func(string) string {
		_, options, found := strings.Cut(printedBy(t, prefix, "lib/pgexthost/worker_spi --help"), "\nOptions:\n")
		if !found {
			t.Fatal("worker_spi --help has other parts than before")
		}
		return "```\nOptions:\n" + options + "```\n"
	})
}

// subcommandsOf returns all commands of pgexthost, "config check" included, in the
// order in which it lists them.
func subcommandsOf(t *testing.T, prefix string) (names []string) {
	t.Helper()
	list := printedBy(t, prefix, "bin/pgexthost --help")
	list, _, _ = strings.Cut(list, "\nOptions:")
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+)  +[a-z]`).FindAllStringSubmatch(list, -1) {
		help := printedBy(t, prefix, "bin/pgexthost "+m[1]+" --help")
		subcommands := regexp.MustCompile(`(?m)^  (?:pgexthost `+m[1]+` )?([a-z]+) [-A-Z]`).FindAllStringSubmatch(help, -1)
		if strings.Contains(help, "a --help of its own") && len(subcommands) > 1 {
			for _, sub := range subcommands {
				names = append(names, m[1]+" "+sub[1])
			}
			continue
		}
		names = append(names, m[1])
	}
	if len(names) < 20 {
		t.Fatalf("found %q only: has the form changed?", names)
	}
	return names
}

// printedBy runs a program below a directory, and returns what it prints.
func printedBy(t *testing.T, prefix, command string) string {
	t.Helper()
	r := &reader{dir: prefix, env: append(os.Environ(), "PGEXTHOST_DATA=")}
	out, err := r.command(t.Context(), command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// What somebody but the owner can read or call in schema pgexthost, and of
// worker_spi, as the catalogs of a server have it: names, types and rights are
// theirs, what it means is written by hand.
func TestTheReferenceHasAllThatSQLCanUse(t *testing.T) {
	r := newReader(t, localpg.Options{})
	buildPrograms(t, r.home)
	for _, command := range []string{"bin/pgexthost init -D d", "bin/pgexthost extension install pgexthost -D d -d postgres", "bin/pgexthost extension install worker_spi -D d -d postgres"} {
		if out, err := r.run(t.Context(), command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	for _, part := range []struct {
		name, head, query string
		least             int
	}{
		{"functions", "function, procedure | returns | who may", routinesQuery, 20},
		{"views", "view, table | who may", relationsQuery, 9},
		{"columns", "of | column | type", columnsQuery, 60},
	} {
		rows := r.query(t, part.query)
		if len(rows) < part.least {
			t.Fatalf("found %d %s only", len(rows), part.name)
		}
		generated(t, "REFERENCE.md", part.name, func(old string) string { return describedTable(t, part.head, rows, old) })
	}
}

func (r *reader) query(t *testing.T, query string) (rows [][]string) {
	t.Helper()
	file := r.home + "/query.sql"
	if err := os.WriteFile(file, []byte(query), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := r.run(context.WithoutCancel(t.Context()), "psql -XAt -F '|' -f "+file+" postgres")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "|"))
	}
	return rows
}

// What these return stands in backquotes, which Go's literals cannot hold.
var (
	routinesQuery = strings.ReplaceAll(`
	SELECT format('!%s.%s(%s)!', n.nspname, p.proname, pg_get_function_arguments(p.oid)),
	       CASE p.prokind WHEN 'f' THEN format('!%s!', pg_get_function_result(p.oid)) END,
	       string_agg(CASE a.grantee WHEN 0 THEN 'all' ELSE replace(a.grantee::regrole::text, 'pgexthost_', '') END, ', ' ORDER BY a.grantee)
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(p.proacl) a
	WHERE (n.nspname = 'pgexthost' OR p.proname LIKE 'worker\_spi%') AND a.grantee <> p.proowner
	GROUP BY p.oid, n.nspname, p.proname ORDER BY p.proname, p.pronargs, 1`, "!", "`")

	relationsQuery = strings.ReplaceAll(`
	SELECT format('!%s!', c.relname),
	       string_agg(DISTINCT CASE x.grantee WHEN 0 THEN 'all' ELSE replace(x.grantee::regrole::text, 'pgexthost_', '') END
	                  || CASE WHEN x.privilege_type = 'SELECT' THEN '' ELSE ' (' || lower(x.privilege_type) || ')' END, ', ')
	FROM pg_class c, aclexplode(c.relacl) x
	WHERE c.relnamespace = 'pgexthost'::regnamespace AND c.relkind IN ('r', 'v') AND x.grantee <> c.relowner
	GROUP BY c.relname ORDER BY c.relname`, "!", "`")

	// Without the columns that the server's own view of nearly that name has.
	columnsQuery = strings.ReplaceAll(`
	SELECT format('!%s!', c.relname), format('!%s!', a.attname), format_type(a.atttypid, a.atttypmod)
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relnamespace = 'pgexthost'::regnamespace AND c.relkind IN ('r', 'v')
	  AND EXISTS (SELECT FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner)
	  AND NOT EXISTS (SELECT FROM pg_attribute s WHERE s.attrelid = 'pg_stat_activity'::regclass AND s.attname = a.attname AND c.relname LIKE '%stat_activity')
	ORDER BY c.relname, a.attnum`, "!", "`")
)

// describedTable returns a table of the rows with what the old one has in its last
// column, by the columns before.
func describedTable(t *testing.T, head string, rows [][]string, old string) string {
	t.Helper()
	texts := make(map[string]string)
	for line := range strings.Lines(old) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "| "), " |"), " | ")
		texts[keyOf(cells[:len(cells)-1])] = strings.TrimSpace(cells[len(cells)-1])
	}
	var out strings.Builder
	fmt.Fprintf(&out, "| %s | |\n|%s---|\n", head, strings.Repeat("---|", strings.Count(head, "|")+1))
	for _, cells := range rows {
		text := texts[keyOf(cells)]
		if text == "" {
			t.Errorf("nothing is said about %s", strings.Join(cells, " "))
		}
		fmt.Fprintf(&out, "| %s | %s |\n", strings.Join(cells, " | "), text)
	}
	return out.String()
}

// keyOf is what stays of a row when its types and rights change.
func keyOf(cells []string) string {
	names := slices.DeleteFunc(slices.Clone(cells), func(cell string) bool { return !strings.Contains(cell, "`") || strings.HasPrefix(cell, "`TABLE(") })
	name, _, isFunction := strings.Cut(strings.Join(names, " "), ")")
	if isFunction {
		name += ")"
	}
	return name
}

// generated compares a part of a document with what it should be, or writes it.
func generated(t *testing.T, document, name string, make func(old string) string) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- %s: generated by go test ./docs -update -->\n\n", name), fmt.Sprintf("\n<!-- end of %s -->", name)
	before, rest, found := strings.Cut(string(text), begin)
	old, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no part %q", document, name)
	}
	want := make(old)
	if want == old {
		return
	}
	if !*update {
		t.Errorf("%s, %s: %s\nRun go test ./docs -update, and read what has changed.", document, name, firstDifference(old, want))
		return
	}
	if err := os.WriteFile(document, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

func firstDifference(got, want string) string {
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i, line := range wantLines {
		if i >= len(gotLines) || gotLines[i] != line {
			return fmt.Sprintf("it should say\n%s\nand says\n%s", line, strings.Join(gotLines[min(i, len(gotLines)):min(i+1, len(gotLines))], ""))
		}
	}
	return "it has lines at its end that it should not have"
}
