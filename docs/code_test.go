package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// declarations are the names that a file declares: package.Name, and
// package.Type.Member for fields and methods.
type declarations map[string]bool

// readCode returns what each file of the module that is no test declares, by
// the file's path from the module's root.
func readCode(t *testing.T) map[string]declarations {
	t.Helper()
	code, err := parseModule()
	if err != nil {
		t.Fatal(err)
	}
	return code
}

var parseModule = sync.OnceValues(func() (map[string]declarations, error) {
	code := make(map[string]declarations)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && len(entry.Name()) > 2 && entry.Name()[0] == '.', entry.IsDir() && entry.Name() == "testdata":
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil && file.Name.Name != "main" {
			code[strings.TrimPrefix(filepath.ToSlash(path), "../")] = declaredIn(file)
		}
		return err
	})
	return code, err
})

func declaredIn(file *ast.File) declarations {
	d := make(declarations)
	add := func(path ...string) { d[file.Name.Name+"."+strings.Join(path, ".")] = true }
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				add(decl.Name.Name)
			} else {
				add(typeName(decl.Recv.List[0].Type), decl.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						add(name.Name)
					}
				case *ast.TypeSpec:
					add(spec.Name.Name)
					for _, member := range membersOf(spec.Type) {
						add(spec.Name.Name, member)
					}
				}
			}
		}
	}
	return d
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func membersOf(e ast.Expr) []string {
	var list *ast.FieldList
	switch e := e.(type) {
	case *ast.StructType:
		list = e.Fields
	case *ast.InterfaceType:
		list = e.Methods
	default:
		return nil
	}
	var members []string
	for _, field := range list.List {
		for _, name := range field.Names {
			members = append(members, name.Name)
		}
	}
	return members
}

// messageIn looks for a message among the string literals of a file, and
// returns the SQLSTATE it is given there, if any. Messages of one beginning may
// be put together at one place of the file.
func messageIn(t *testing.T, path, message string) (state string, found bool) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return "", false
	}
	if state, found = literalIn(t, file, message); found {
		return state, true
	}
	const beginning = `background worker "%s": `
	rest, cut := strings.CutPrefix(message, beginning)
	if !cut {
		return "", false
	}
	_, found = literalIn(t, file, rest)
	state, together := literalIn(t, file, beginning+"%s")
	return state, found && together
}

// literalIn looks for a call with the given string among its arguments.
func literalIn(t *testing.T, file *ast.File, want string) (state string, found bool) {
	t.Helper()
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || found {
			return !found
		}
		code := ""
		for _, arg := range call.Args {
			switch arg := arg.(type) {
			case *ast.BasicLit:
				if text, err := strconv.Unquote(arg.Value); err == nil && text == want {
					found = true
				}
			case *ast.SelectorExpr:
				if value := sqlStates(t)[arg.Sel.Name]; value != "" {
					code = value
				}
			}
		}
		if found {
			state = code
		}
		return !found
	})
	return state, found
}

// sqlStates are the constants of plugins/elog/sqlstate.go.
func sqlStates(t *testing.T) map[string]string {
	t.Helper()
	states, err := parseSQLStates()
	if err != nil {
		t.Fatal(err)
	}
	return states
}

var parseSQLStates = sync.OnceValues(func() (map[string]string, error) {
	states := make(map[string]string)
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "plugins", "elog", "sqlstate.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				states[spec.Names[0].Name], _ = strconv.Unquote(value.Value)
			}
		}
		return true
	})
	return states, nil
})
