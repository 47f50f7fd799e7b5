package guc_test

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// What PostgreSQL does and this package doesn't, each as narrow as possible.

// endsTooEarly is what a report says of a line that misses its end rather than
// having an odd token in it.
const endsTooEarly = ", near end of line"

// miscounted gives a syntax error "near end of line" in a last line without
// newline the number that PostgreSQL gives it, which is one too small.
func miscounted(tree fileTree, e *elog.ErrorData) *elog.ErrorData {
	file, line := placeOf(e)
	if !strings.HasSuffix(e.Message, endsTooEarly) {
		return e
	}
	for name, text := range tree.files {
		if strings.HasSuffix(file, "/"+name) && line == strings.Count(text, "\n")+1 && !strings.HasSuffix(text, "\n") {
			e = elog.New(e.Level, e.Code, "syntax error in file \"%s\" line %d%s", file, line-1, endsTooEarly)
		}
	}
	return e
}

// withoutNULs takes over our value where a NUL byte is inside quotes: it ends
// the value, but PostgreSQL takes the byte before it away as well, and reads
// memory that it hasn't written if there is none.
func withoutNULs(tree fileTree, conf guc.Config, settings []fileSetting) []fileSetting {
	for i, r := range settings {
		for _, it := range conf.Items {
			if it.File == r.file && it.Line == r.line && (it.Value == "" || *r.setting == it.Value[:len(it.Value)-1]) && hasNUL(tree, it) {
				settings[i].setting = &it.Value
			}
		}
	}
	return settings
}

// hasNUL reports whether the line of an item has a NUL byte in it.
func hasNUL(tree fileTree, it guc.Item) bool {
	for name, text := range tree.files {
		if strings.HasSuffix(it.File, "/"+name) {
			return strings.Contains(strings.Split(text, "\n")[it.Line-1], "\x00")
		}
	}
	return false
}

// isReplaced reports whether a later line says something of the same setting.
func isReplaced(settings []fileSetting, i int) bool {
	for _, later := range settings[i+1:] {
		if strings.EqualFold(*later.name, *settings[i].name) {
			return true
		}
	}
	return false
}

// spelledDifferentlyOrNew reports whether PostgreSQL looks at a line that is
// replaced all the same: because the later one spells the name in another case,
// or because there is no setting of that name yet.
func spelledDifferentlyOrNew(settings []fileSetting, i int) bool {
	for _, later := range settings[i+1:] {
		if *later.name == *settings[i].name && !strings.Contains(*later.name, ".") {
			return false
		}
	}
	return true
}

// withoutUnits takes the units out of bounds, where PostgreSQL has them from
// version 18 on.
func withoutUnits(message string) string {
	return boundsWithUnits.ReplaceAllString(message, "($1 .. $2)")
}

var boundsWithUnits = regexp.MustCompile(`\((\S+)(?: \w+)? \.\. (\S+?)(?: \w+)?\)$`)

// asFlexSays words a report about an included directory as PostgreSQL's scanner
// does, which is not told that it reads one.
func asFlexSays(message string) string {
	if before, _, isDir := strings.Cut(message, ": Is a directory"); isDir {
		return "input in flex scanner failed at file " + strings.TrimPrefix(before, "could not open configuration file ") + " line 1"
	}
	return message
}

// afterTheMainFile drops what we say about the file of ALTER SYSTEM when the
// main one is wrong: PostgreSQL doesn't read it then.
func afterTheMainFile(conf guc.Config, reports []*elog.ErrorData) (kept []*elog.ErrorData) {
	for _, e := range reports {
		file, _ := placeOf(e)
		if conf.BadFile != conf.File || !strings.HasSuffix(file, "/"+autoName) {
			kept = append(kept, e)
		}
	}
	return kept
}

// withoutReplaced takes out of PostgreSQL's log that a placeholder got a value
// which a later line replaces at once.
func withoutReplaced(conf guc.Config, want, got []string) (kept []string) {
	for i, message := range want {
		isGone := false
		for j, it := range conf.Items {
			if strings.Contains(it.Name, ".") && message == "LOG:  parameter \""+it.Name+"\" changed to \""+strings.ReplaceAll(it.Value, "\n", "\n\t")+"\"" &&
				slices.ContainsFunc(conf.Items[j+1:], func(later guc.Item) bool { return later.Name == it.Name }) && !slices.Contains(got, message) {
				isGone = true
			}
		}
		if !isGone {
			kept = append(kept, want[i])
		}
	}
	return kept
}

// outOfDescriptors reports whether PostgreSQL has met a limit of its own on the
// way to the one for nested files.
func outOfDescriptors(log []string, reports []*elog.ErrorData) bool {
	return len(log) > 0 && strings.HasPrefix(log[len(log)-1], "FATAL:  exceeded maxAllocatedDescs") &&
		slices.ContainsFunc(reports, func(e *elog.ErrorData) bool { return strings.Contains(e.Message, "maximum nesting depth exceeded") })
}

// forgottenMarks are settings which PostgreSQL says need a restart, and we
// don't, because files that were applied ceased to mention them: it takes such a
// mark away only when the files have the value in force.
type forgottenMarks map[string]bool

// excuse reports whether a mark that only PostgreSQL has is such a one.
func (f forgottenMarks) excuse(conf guc.Config, wasApplied bool, set guc.Setting, pending bool) bool {
	name := set.Definition.Name
	if !pending || set.PendingRestart {
		delete(f, name)
		return false
	}
	isMentioned := slices.ContainsFunc(conf.Items, func(it guc.Item) bool { return it.Name == name })
	if wasApplied && !isMentioned && set.Source != guc.SourceFile {
		f[name] = true
	}
	return f[name]
}

// removalsInOrder sorts the messages about what has gone from the files, which
// come one after the other: where PostgreSQL puts names that aren't ASCII
// depends on whether the compiler's char has a sign.
func removalsInOrder(log []string) []string {
	isRemoval := func(m string) bool { return strings.HasSuffix(m, " removed from configuration file, reset to default") }
	first := slices.IndexFunc(log, isRemoval)
	if first < 0 {
		return log
	}
	end := first
	for end < len(log) && isRemoval(log[end]) {
		end++
	}
	slices.Sort(log[first:end])
	return log
}

// hasDirectory reports whether an include_dir is in the tree: PostgreSQL gives
// up a directory at the first file that is wrong.
func hasDirectory(tree fileTree) bool {
	for _, text := range tree.files {
		if strings.Contains(text, "include_dir") {
			return true
		}
	}
	return false
}

// onlyTheFirstKind drops what we say about names when files can't be read, and
// about values when a name doesn't exist: PostgreSQL doesn't look at them then.
func onlyTheFirstKind(conf guc.Config, reports []*elog.ErrorData) []*elog.ErrorData {
	if conf.BadFile != "" {
		return append(slices.Clone(conf.Reports), reports[len(reports)-1])
	}
	if !slices.ContainsFunc(reports, func(e *elog.ErrorData) bool { return e.Code == elog.UndefinedObject }) {
		return reports
	}
	return slices.DeleteFunc(slices.Clone(reports), func(e *elog.ErrorData) bool {
		return e.Context != "" && e.Code != elog.UndefinedObject && !strings.Contains(e.Message, "configuration ")
	})
}
