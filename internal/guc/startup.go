package guc

import (
	"cmp"
	"slices"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// ApplyStartup sets the variables to what the command line and the files say
// before the host starts. It returns all there is to log, conf.Reports
// included: the host must not start if a report has the level FATAL. The items
// that are right have been applied even then. Mirrors the postmaster's
// SetConfigOption for -c, and ProcessConfigFile(PGC_POSTMASTER).
func (s *Store) ApplyStartup(conf Config) []*elog.ErrorData {
	s.lock()
	defer s.writer.Unlock()
	reports := slices.Clone(conf.Reports)
	for _, it := range conf.Items {
		if it.Source == SourceFile {
			continue
		}
		if _, problem := s.apply(it, Postmaster); problem != nil {
			reports = append(reports, elog.AsErrorData(problem, elog.Fatal))
		}
	}
	var wrongName, wrongValue string
	for _, it := range s.lastInFiles(conf.Items) {
		_, problem := s.apply(it, Postmaster)
		switch {
		case problem == nil:
			continue
		case s.cannotExist(it.Name):
			wrongName = it.File
		default:
			wrongValue = it.File
		}
		reports = append(reports, elog.AsErrorData(problem, elog.Log))
	}
	// PostgreSQL meets one of them only, in this order.
	badFile := cmp.Or(conf.BadFile, wrongName, wrongValue)
	if badFile != "" {
		reports = append(reports, containsErrors(elog.Fatal, badFile, ""))
	}
	return reports
}

// containsErrors is the report that sums up the others.
func containsErrors(level elog.Level, file, consequence string) *elog.ErrorData {
	return elog.New(level, elog.ConfigFileError, "configuration file \"%s\" contains errors%s", file, consequence)
}

// lastInFiles returns the items of files without those that a later one
// replaces. What is replaced isn't even looked at, except for names that can't
// exist: nothing can replace what is no setting.
func (s *Store) lastInFiles(items []Item) []Item {
	last := make(map[string]int, len(items))
	for i, it := range items {
		if it.Source == SourceFile {
			last[foldName(it.Name)] = i
		}
	}
	var kept []Item
	for i, it := range items {
		if it.Source == SourceFile && (last[foldName(it.Name)] == i || s.cannotExist(it.Name)) {
			kept = append(kept, it)
		}
	}
	return kept
}
