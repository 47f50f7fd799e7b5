package docs

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// message is something that the host, its commands or its functions in SQL say.
type message struct {
	section string
	text    string // the format
	levels  []string
	states  []string // empty if it is the caller's to say
	hint    string
}

// sections are where the messages of a folder or file stand in MESSAGES.md; the
// longest path counts. Those of others are none of an operator's business.
var sections = map[string]string{
	"host": "start and stop", "host/postmaster": "start and stop", "internal/lockfile": "start and stop", "internal/trampoline": "libraries",
	"host/postmaster/exit.go": "workers", "host/postmaster/launch.go": "workers", "host/postmaster/worker.go": "workers", "host/postmaster/statechange.go": "workers",
	"host/postmaster/crash.go": "workers", "host/postmaster/library.go": "libraries", "host/children.go": "workers", "host/orphans.go": "workers", "host/process.go": "libraries", "host/spawner.go": "workers",
	"host/preload.go": "libraries", "host/preloadwait.go": "libraries", "host/libraryreload.go": "libraries", "host/check.go": "libraries", "host/inspect.go": "libraries",
	"host/metrics": "metrics", "internal/control/web.go": "metrics",
	"internal/guc": "settings", "internal/settings": "settings", "internal/limits": "settings",
	"internal/library": "libraries", "plugins": "workers", "plugins/loader.go": "libraries", "plugins/lookup.go": "libraries", "plugins/preload.go": "libraries",
	"plugins/init.go": "libraries", "plugins/child.go": "libraries", "plugins/customsettings.go": "libraries", "plugins/elog": "the log", "host/postmaster/events.go": "workers",
	"connect": "the server", "sql": "extensions", "sql/launcher": "requests", "sql/scripts/pgexthost--1.0.sql": "functions", "sql/scripts/worker_spi--1.0.sql": "functions",
	"sql/gateway": "the gateway", "sql/call": "functions", "sql/statement": "extensions", "internal/control": "commands", "cmd/pgexthost": "commands", "workerspi": "workers",
	// Those that write a library, or run tests, look at what they do.
	"plugins/pluginstest": "", "plugins/standalonebyhand.go": "", "cmd/pgexthost/demohost.go": "", "cmd/pgexthost/demoplay.go": "", "cmd/pgexthost/demo.go": "",
}

// sayers are functions that make a report with neither a level nor an SQLSTATE among
// their arguments, and those that say both by their names.
var sayers = map[string]message{
	"host.fatal": {levels: []string{"FATAL"}}, "lockfile.fatal": {levels: []string{"FATAL"}}, "lockfile.warning": {levels: []string{"WARNING"}},
	"guc.logged": {levels: []string{"LOG"}, states: []string{"00000"}}, "guc.report": {levels: []string{"LOG"}, states: []string{"42601"}}, "guc.refuse": {},
}

// Messages are what the code gives, as a literal, to a function together with an
// SQLSTATE, or to a log.
func TestMessagesAreAllListedWithWhatToDo(t *testing.T) {
	bySection := make(map[string][]message)
	for _, m := range slices.Concat(messagesOfGo(t), messagesOfSQL(t), messagesOfPieces(t)) {
		bySection[m.section] = append(bySection[m.section], m)
	}
	total := 0
	for section, list := range bySection {
		total += len(list)
		generated(t, "MESSAGES.md", section, func(old string) string { return messageTable(t, list, old) })
	}
	if total < 300 {
		t.Errorf("found %d messages only", total)
	}
}

// messageTable returns a table, in alphabetical order. What to do is kept from the old
// one, or is the message's own HINT.
func messageTable(t *testing.T, list []message, old string) string {
	t.Helper()
	texts := make(map[string]string)
	for line := range strings.Lines(old) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | "); len(cells) == 4 {
			texts[strings.TrimSpace(cells[0])] = strings.TrimSpace(cells[3])
		}
	}
	byText := func(a, b message) int {
		return cmp.Or(cmp.Compare(strings.ToLower(shown(a.text)), strings.ToLower(shown(b.text))), cmp.Compare(shown(a.text), shown(b.text)))
	}
	slices.SortStableFunc(list, byText)
	var out strings.Builder
	out.WriteString("| message | level | SQLSTATE | what to do |\n|---|---|---|---|\n")
	for i := 0; i < len(list); {
		m := list[i]
		for i++; i < len(list) && shown(list[i].text) == shown(m.text); i++ { // said in several places
			m.levels, m.states = append(m.levels, list[i].levels...), append(m.states, list[i].states...)
			m.hint = cmp.Or(m.hint, list[i].hint)
		}
		key := "`" + shown(m.text) + "`"
		text := texts[key]
		if m.hint != "" && (text == "" || strings.HasPrefix(text, "HINT: ")) {
			text = "HINT: " + shown(m.hint)
		}
		if text == "" {
			t.Errorf("nothing is said about %s", key)
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", key, inOrder(m.levels), inOrder(m.states), text)
	}
	return out.String()
}

// shown is a format as a person reads it.
func shown(format string) string {
	format = regexp.MustCompile(`%%|%[-+# 0-9.]*[a-zA-Z]`).ReplaceAllString(format, "…")
	return strings.NewReplacer("|", `\|`, "\n", " ", "`", "'").Replace(format)
}

// assembled are messages that are put together of pieces, which these files have.
var assembled = []struct{ file, piece, text, level, state string }{
	{"host/postmaster/launch.go", `"could not fork " + what + ": "`, "could not fork background worker process: %s", "LOG", ""},
	{"host/postmaster/exit.go", " could not be started: ", "background worker \"%s\" (PID %d) could not be started: %s", "LOG", ""},
	{"host/postmaster/events.go", "exited with exit code %d", "background worker \"%s\" (PID %d) exited with exit code %d", "LOG", "00000"},
	{"host/postmaster/events.go", "was terminated by signal %d: %s", "background worker \"%s\" (PID %d) was terminated by signal %d: %s", "LOG", "00000"},
	{"connect/servermonitor/words.go", `"waiting for the server"`, "waiting for the server: %s", "LOG", "00000"},
	{"connect/servermonitor/words.go", `"cannot connect to the server"`, "cannot connect to the server: %s", "LOG", "00000"},
	{"sql/launcher/database.go", "cannot fulfil the requests of database ", "cannot fulfil the requests of database \"%s\": %s", "LOG", ""},
	{"plugins/elog/loss.go", "log records were dropped", "%d log records were dropped", "WARNING", "01000"},
}

func messagesOfPieces(t *testing.T) (found []message) {
	t.Helper()
	for _, m := range assembled {
		if text, err := os.ReadFile("../" + m.file); err != nil || !strings.Contains(string(text), m.piece) {
			t.Errorf("%s has no %s: %v", m.file, m.piece, err)
		}
		one := message{section: sectionOf(m.file), text: m.text, levels: []string{m.level}}
		if m.state != "" {
			one.states = []string{m.state}
		}
		found = append(found, one)
	}
	return found
}

func inOrder(words []string) string {
	words = slices.Clone(words)
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}

func sectionOf(path string) string {
	for {
		if section, known := sections[path]; known || path == "." {
			return section
		}
		path = filepath.Dir(path)
	}
}

func messagesOfGo(t *testing.T) (found []message) {
	t.Helper()
	walkTheTree(t, func(path string) {
		place := strings.TrimPrefix(filepath.ToSlash(path), "../")
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || sectionOf(place) == "" {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		hints := make(map[ast.Node]string)
		ast.Inspect(file, func(n ast.Node) bool {
			call, isCall := n.(*ast.CallExpr)
			if !isCall {
				return true
			}
			if selector, ok := call.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "WithHint" {
				if hint, ok := literal(call.Args[0]); ok {
					hints[beginning(call)] = hint
				}
			}
			if m, ok := messageOf(t, file.Name.Name, call); ok {
				m.section, m.hint = sectionOf(place), hints[call]
				found = append(found, m)
			}
			return true
		})
	})
	return found
}

// beginning returns the call that a chain such as New(…).WithDetail(…).WithHint(…)
// begins with.
func beginning(call *ast.CallExpr) ast.Node {
	for {
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return call
		}
		inner, ok := selector.X.(*ast.CallExpr)
		if !ok {
			return call
		}
		call = inner
	}
}

// messageOf returns what a call says, if it says anything to an operator.
func messageOf(t *testing.T, pkg string, call *ast.CallExpr) (m message, ok bool) {
	t.Helper()
	name := ""
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		name = f.Sel.Name
	case *ast.Ident:
		name = f.Name
	}
	m, isSayer := sayers[pkg+"."+name]
	isLog := strings.EqualFold(name, "logf")
	var coded bool
	for _, arg := range call.Args {
		switch word := wordOf(arg); {
		case sqlStates(t)[word] != "":
			m.states, coded = append(slices.Clone(m.states), sqlStates(t)[word]), true
		case levels[word] != "":
			m.levels = append(slices.Clone(m.levels), levels[word])
		}
		if text, isText := literal(arg); isText && m.text == "" {
			m.text = text
		}
	}
	if code, isEmpty := argument(call, 1); isEmpty && code == "" && name == "New" && len(m.levels) == 1 {
		m.states = []string{defaultState(m.levels[0])}
	}
	if isLog {
		m.states = []string{"00000"}
	}
	return m, isMessage(m.text) && (coded || isLog || isSayer || name == "New" && len(call.Args) > 2)
}

func argument(call *ast.CallExpr, i int) (string, bool) {
	if i >= len(call.Args) {
		return "", false
	}
	return literal(call.Args[i])
}

// defaultState is the SQLSTATE of a report that was given none, as elog has it.
func defaultState(level string) string {
	switch level {
	case "WARNING":
		return "01000"
	case "ERROR", "FATAL", "PANIC":
		return "XX000"
	}
	return "00000"
}

// isMessage tells messages from names, from frames for other messages, and from the
// whole sentences of a DETAIL.
func isMessage(text string) bool {
	return strings.Contains(text, " ") && regexp.MustCompile(`[a-z]{2}.* .*[a-z]{2}`).MatchString(shown(text)) && !strings.HasSuffix(text, ".")
}

var levels = map[string]string{
	"Debug1": "DEBUG1", "Debug2": "DEBUG2", "Debug3": "DEBUG3", "Log": "LOG", "Info": "INFO", "Notice": "NOTICE", "Warning": "WARNING", "Error": "ERROR", "Fatal": "FATAL", "Panic": "PANIC",
}

func wordOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.BinaryExpr: // a text and what follows it
		return literal(e.X)
	}
	return "", false
}

// conditions are those that the scripts raise by name.
var conditions = map[string]string{
	"invalid_parameter_value": "22023", "null_value_not_allowed": "22004", "insufficient_privilege": "42501", "object_not_in_prerequisite_state": "55000",
	"undefined_object": "42704", "object_in_use": "55006", "insufficient_resources": "53000", "feature_not_supported": "0A000", "system_error": "58000",
	"ambiguous_parameter": "42P08", "numeric_value_out_of_range": "22003", "array_subscript_error": "2202E", "data_exception": "22000",
}

var (
	raising = regexp.MustCompile(`(?s)RAISE (EXCEPTION|WARNING|NOTICE)(.*?);\n`)
	raised  = regexp.MustCompile(`(?s)(?:MESSAGE = |^ |THEN |ELSE |coalesce\()(?:format\()?'((?:[^']|'')+)'`)
	coding  = regexp.MustCompile(`ERRCODE = '(\w+)'`)
	hinting = regexp.MustCompile(`HINT = (?:format\()?'((?:[^']|'')+)'`)
)

func messagesOfSQL(t *testing.T) (found []message) {
	t.Helper()
	for _, script := range []string{"sql/scripts/pgexthost--1.0.sql", "sql/scripts/worker_spi--1.0.sql"} {
		text, err := os.ReadFile("../" + script)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range raising.FindAllStringSubmatch(string(text), -1) {
			m := message{section: sectionOf(script), levels: []string{map[string]string{"EXCEPTION": "ERROR"}[statement[1]]}}
			if m.levels[0] == "" {
				m.levels[0], m.states = statement[1], []string{"01000"}
			}
			if code := coding.FindStringSubmatch(statement[2]); code != nil {
				state := conditions[code[1]]
				if len(code[1]) == 5 {
					state = code[1]
				}
				if m.states = []string{state}; state == "" {
					t.Errorf("%s: what is the SQLSTATE of %s?", script, code[1])
				}
			}
			if hint := hinting.FindStringSubmatch(statement[2]); hint != nil {
				m.hint = unquoted(hint[1])
			}
			said, _, _ := strings.Cut(statement[2], "DETAIL")
			said, _, _ = strings.Cut(said, "HINT")
			if strings.HasPrefix(said, " '") { // RAISE has formats of its own
				said = strings.ReplaceAll(said, "%", "%s")
			}
			for _, text := range raised.FindAllStringSubmatch(said, -1) {
				if m.text = unquoted(text[1]); isMessage(m.text) {
					found = append(found, m)
				}
			}
		}
	}
	return found
}

func unquoted(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "''", "'"), "%L", "%s")
	if strings.Count(text, `"`)%2 == 1 { // a name follows, and the other quote
		text += `%s"`
	}
	return text
}
