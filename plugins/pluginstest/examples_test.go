package pluginstest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// notForAuthors are the exported functions that need no Example: the host's own
// programs call them, or an interface of the standard library does.
var notForAuthors = map[string][]string{
	"plugins": {
		"Auxiliaries", "FromDescriptor", "BackgroundWorker.Descriptor", "Libraries", "ParsePersonality", "Personality.String",
		"RegisterAuxiliary", "SplitLibraries", "StartTime.String",
		"Handle.MarshalText", "Handle.UnmarshalText",
		"Worker.InitializeSession", "Worker.ServerConninfo", "Worker.SetServerNews", "Worker.SetServerState", "Worker.SetSessions", "Worker.RefusesSessions",
		"Worker.HasInterruptibleWorkers", "Worker.TerminateBackgroundWorkersForDatabase",
		"BackgroundWorker.EntryLibrary", "Worker.RequestLibraryReload", "Worker.LibraryReloadAnswered", "BackgroundWorker.SanityCheckAs",
		"Worker.AlterSystem", "Worker.HostStatistics", "Worker.HostTallies", "Worker.ClientSessions", "Worker.CountSession", "Worker.SlotCount", "Worker.PingPostmaster", "Worker.PostmasterAnswered", "Worker.CountControlRequest",
	},
	"connect": {
		"IgnoreDatabaseRole", "Open", "RepairDatabases", "AsProbe", "Config.ForDatabase", "Config.Dial", "Config.DialAt", "Conn.RoleOID",
		"Conn.CancelRequest", "Conn.Close", "Conn.DescribeError", "Conn.HangUp",
	},
}

// Authors read Examples first. Each call of theirs has one that shows it, even if
// another has the name.
func TestEveryCallOfTheAuthorsAPIIsInAnExample(t *testing.T) {
	for name, dir := range map[string]string{"plugins": "..", "connect": "../../connect", "pluginstest": "."} {
		exported, shown := readPackage(t, dir)
		if len(exported) < 10 || len(shown) < 10 {
			t.Fatalf("%s: found %d functions, %d of them in Examples", name, len(exported), len(shown))
		}
		for _, function := range exported {
			_, method, isMethod := strings.Cut(function, ".")
			if !isMethod {
				method = function
			}
			switch exempt := slices.Contains(notForAuthors[name], function); {
			case !shown[method] && !exempt:
				t.Errorf("%s.%s is in no Example", name, function)
			case exempt && shown[function]:
				t.Errorf("%s.%s has an Example, and need not be an exception", name, function)
			}
		}
	}
}

// readPackage returns the exported functions of a package, methods with their type,
// and all names that its Examples call or are named after.
func readPackage(t *testing.T, dir string) (exported []string, shown map[string]bool) {
	t.Helper()
	shown = make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			switch isTest := strings.HasSuffix(file, "_test.go"); {
			case !ok:
			case isTest && strings.HasPrefix(f.Name.Name, "Example"):
				shown[strings.ReplaceAll(strings.TrimPrefix(f.Name.Name, "Example"), "_", ".")] = true
				ast.Inspect(f.Body, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						shown[s.Sel.Name] = true
					}
					return true
				})
			case !isTest && f.Name.IsExported():
				if name, ok := qualified(f); ok {
					exported = append(exported, name)
				}
			}
		}
	}
	return exported, shown
}

// qualified returns the name of a function with that of its receiver, and false
// for methods of unexported types.
func qualified(f *ast.FuncDecl) (string, bool) {
	if f.Recv == nil {
		return f.Name.Name, true
	}
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	id, ok := receiver.(*ast.Ident)
	return id.Name + "." + f.Name.Name, ok && id.IsExported()
}
