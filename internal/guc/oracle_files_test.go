package guc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// fileSetting is a row of pg_file_settings, or what we would put there.
type fileSetting struct {
	file          string
	line          int
	name, setting *string // nil for what isn't a setting
	applied       bool
	failure       string
}

func (r fileSetting) place() string { return fmt.Sprintf("%s:%d", r.file, r.line) }

// String shows what the parser alone determines.
func (r fileSetting) String() string {
	if r.name == nil {
		return fmt.Sprintf("%s: %s", r.place(), r.failure)
	}
	return fmt.Sprintf("%s: %s = %q", r.place(), *r.name, *r.setting)
}

// fileSettings asks the server what its files say now.
func (o *oracle) fileSettings(t *testing.T) (settings, failures []fileSetting) {
	t.Helper()
	rows, err := o.conn.Query(t.Context(), `SELECT coalesce(sourcefile, ''), coalesce(sourceline, 0), name, setting, applied, coalesce(error, '')
		FROM pg_file_settings ORDER BY seqno`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r fileSetting, err error) {
		err = row.Scan(&r.file, &r.line, &r.name, &r.setting, &r.applied, &r.failure)
		return r, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.name == nil {
			failures = append(failures, r)
		} else {
			settings = append(settings, r)
		}
	}
	return settings, failures
}

// agreeOnFiles compares with pg_file_settings, which reads the files at each
// query and applies nothing.
func agreeOnFiles(t *testing.T, o *oracle) {
	clean := 0
	seeds(t, *fileCount, func(seed uint64) error {
		tree := generate(seed, o.defs, false)
		conf := guc.ParseFile(tree.write(t, o.server.DataDir()))
		settings, failures := o.fileSettings(t)
		if conf.BadFile != "" {
			return sameMistakes(tree, conf, settings, failures)
		}
		clean++
		if got, want := ourSettings(conf), lines(withoutNULs(tree, conf, settings)); !slices.Equal(got, want) {
			return difference(tree, "settings", got, want)
		}
		return sameVerdicts(tree, conf, o.defs, settings)
	})
	if clean < *fileCount/4 {
		t.Errorf("only %d of %d configurations have no syntax error", clean, *fileCount)
	}
}

func lines[T fmt.Stringer](all []T) (shown []string) {
	for _, one := range all {
		shown = append(shown, one.String())
	}
	return shown
}

func ourSettings(conf guc.Config) (shown []string) {
	for _, it := range conf.Items {
		shown = append(shown, fileSetting{file: it.File, line: it.Line, name: &it.Name, setting: &it.Value}.String())
	}
	return shown
}

// sameMistakes compares files that can't be read without error. There
// PostgreSQL gives up what we go on with.
func sameMistakes(tree fileTree, conf guc.Config, settings, failures []fileSetting) error {
	if len(failures) == 0 {
		return fmt.Errorf("%v\nPostgreSQL has no complaint, we have %v", tree, conf.Reports)
	}
	ours, want := ourFailures(tree, conf), lines(failures)
	if len(ours) == 0 || ours[0] != want[0] || !isSubsequence(want, ours) {
		return difference(tree, "failures", ours, want)
	}
	if got, want := ourSettings(conf), lines(withoutNULs(tree, conf, settings)); !isSubsequence(want, got) {
		return difference(tree, "settings", got, want)
	}
	for _, r := range settings {
		if r.applied || r.failure != "" {
			return fmt.Errorf("%v\nPostgreSQL looks at %v in spite of the errors", tree, r)
		}
	}
	return nil
}

// isSubsequence reports whether all of part are in whole, in that order.
func isSubsequence(part, whole []string) bool {
	for _, s := range whole {
		if len(part) > 0 && part[0] == s {
			part = part[1:]
		}
	}
	return len(part) == 0
}

// ourFailures words our reports as pg_file_settings.error does.
func ourFailures(tree fileTree, conf guc.Config) (shown []string) {
	for _, e := range conf.Reports {
		if !isProblem(e) {
			continue
		}
		r := fileSetting{failure: viewText(e)}
		r.file, r.line = placeOf(miscounted(tree, e))
		if r.failure != "" {
			shown = append(shown, r.String())
		}
	}
	return shown
}

// viewText is the short form of a message, or empty if the view has none.
func viewText(e *elog.ErrorData) string {
	for _, known := range []struct{ contained, text string }{
		{"syntax error in file", "syntax error"},
		{"too many syntax errors", ""},
		{"maximum nesting depth exceeded", "nesting depth exceeded"},
		{"configuration file recursion", "configuration file recursion"},
		{"empty configuration file name", "empty configuration file name"},
		{"empty configuration directory name", "empty configuration directory name"},
		{": Is a directory", "input in flex scanner failed"},
	} {
		if strings.Contains(e.Message, known.contained) {
			return known.text
		}
	}
	text, _, _ := strings.Cut(strings.Replace(e.Message, "configuration ", "", 1), "\": ")
	return text + "\""
}

// placeOf returns the file and line that a report names.
func placeOf(e *elog.ErrorData) (file string, line int) {
	if _, err := fmt.Sscanf(e.Context, "line %d of configuration file %q", &line, &file); err == nil {
		if path, _, isDir := strings.Cut(e.Message, ": Is a directory"); isDir {
			_, file, _ = strings.Cut(strings.TrimSuffix(path, "\""), "\"") // flex fails inside the file
			line = 1
		}
		return file, line
	}
	_, after, _ := strings.Cut(e.Message, " in file ")
	_, _ = fmt.Sscanf(after, "%q line %d", &file, &line)
	return file, line
}

// sameVerdicts compares what becomes of each setting in files without syntax
// errors.
func sameVerdicts(tree fileTree, conf guc.Config, defs []guc.Definition, settings []fileSetting) error {
	reports := map[string]*elog.ErrorData{}
	store := guc.NewStore(defs...)
	store.EndStartup()
	for _, e := range store.ApplyReload(conf) {
		if file, line := placeOf(e); file != "" {
			reports[fmt.Sprintf("%s:%d", file, line)] = e
		}
	}
	unknown := false
	for _, e := range reports {
		unknown = unknown || e.Code == elog.UndefinedObject
	}
	for i, r := range settings {
		e := reports[r.place()]
		want := fileSetting{applied: !unknown && e == nil}
		switch {
		case e != nil && e.Code == elog.UndefinedObject:
			want.failure = "unrecognized configuration parameter"
		case unknown:
		case isReplaced(settings, i):
			want.applied = false
			if spelledDifferentlyOrNew(settings, i) {
				continue
			}
		case e != nil && e.Code == elog.CharacterNotInRepertoire:
			continue // PostgreSQL leaves it to the setting's hooks to want a certain encoding
		case hasNUL(tree, guc.Item{File: r.file, Line: r.line}):
			continue // the value is another one
		case e != nil:
			want.failure = "setting could not be applied"
		}
		if r.applied != want.applied || r.failure != want.failure {
			return fmt.Errorf("%v\n%v: applied %v, %q; we report %w", tree, r, r.applied, r.failure, e)
		}
	}
	return nil
}
