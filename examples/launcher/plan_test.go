package launcher

import (
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// registered is a row of BackgroundWorkers, as after the registration of a
// database's worker.
func registered(t *testing.T, slot int, d database) plugins.WorkerInfo {
	t.Helper()
	w, err := workerFor(d)
	if err != nil {
		t.Fatal(err)
	}
	return plugins.WorkerInfo{Slot: slot, Entry: w}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	one, two, big := database{1, "one"}, database{2, "two"}, database{1<<32 - 1, "größer"}
	of := func(d database) plugins.WorkerInfo { return registered(t, int(d.oid), d) }
	ending := of(one)
	ending.Terminated = true
	stranger := plugins.WorkerInfo{Entry: plugins.BackgroundWorker{LibraryName: LibraryName, FunctionName: launcherFunction, MainArg: 1}}
	other := plugins.WorkerInfo{Entry: plugins.BackgroundWorker{LibraryName: "other", FunctionName: workerFunction, MainArg: 1}}
	for name, c := range map[string]struct {
		wanted  []database
		workers []plugins.WorkerInfo
		start   []database
		stop    int
	}{
		"nothing":                       {},
		"each database gets one":        {wanted: []database{one, two, big}, start: []database{one, two, big}},
		"each has one":                  {wanted: []database{one, two, big}, workers: []plugins.WorkerInfo{of(big), of(two), of(one)}},
		"a database is gone":            {wanted: []database{one}, workers: []plugins.WorkerInfo{of(one), of(two)}, stop: 1},
		"all are gone":                  {workers: []plugins.WorkerInfo{of(one), of(two)}, stop: 2},
		"a new one":                     {wanted: []database{one, two}, workers: []plugins.WorkerInfo{of(one)}, start: []database{two}},
		"renamed: first the end":        {wanted: []database{{1, "uno"}}, workers: []plugins.WorkerInfo{of(one)}, stop: 1},
		"one that ends is waited for":   {wanted: []database{one}, workers: []plugins.WorkerInfo{ending}},
		"one that ends is left alone":   {workers: []plugins.WorkerInfo{ending}},
		"a double":                      {wanted: []database{one}, workers: []plugins.WorkerInfo{of(one), of(one)}, stop: 1},
		"others are nobody's business":  {wanted: []database{two}, workers: []plugins.WorkerInfo{stranger, other, of(two)}},
		"others are not taken for ours": {wanted: []database{one}, workers: []plugins.WorkerInfo{stranger, other}, start: []database{one}},
	} {
		start, stop := plan(c.wanted, c.workers)
		if len(stop) != c.stop {
			t.Errorf("%s: stops %v", name, stop)
		}
		if len(start) != len(c.start) {
			t.Errorf("%s: starts %v", name, start)
			continue
		}
		for i := range start {
			if start[i] != c.start[i] {
				t.Errorf("%s: starts %v", name, start)
			}
		}
	}
}

func TestEveryNameOfADatabaseFits(t *testing.T) {
	t.Parallel()
	for _, name := range []string{strings.Repeat("x", 63), strings.Repeat("ü", 31), "it's \\ \"odd\"", " "} {
		w, err := workerFor(database{1, name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.SanityCheck(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := plugins.ExtraText(w); got != name {
			t.Errorf("%s: carries %s", name, got)
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list, name string
		want       bool
	}{
		{"", "app", false},
		{"*", "app", true},
		{"app", "app", true},
		{"app", "apple", false},
		{"app*, other", "apple", true},
		{"app*, other", "other", true},
		{`"a, b"`, "a, b", true},
		{"app_[0-9]", "app_7", true},
		{"app_??", "app_7", false},
		{"*", "größer", true},
	} {
		if err := patternsOf("x")(c.list); err != nil {
			t.Error(err)
		}
		if got := matches(c.list, c.name); got != c.want {
			t.Errorf("%q matches %s: %t", c.list, c.name, got)
		}
	}
	for list, code := range map[string]elog.SQLState{"[": elog.InvalidParameterValue, "a, [b-": elog.InvalidParameterValue, "a,,b": elog.SyntaxError} {
		if err := patternsOf("analyzer.include")(list); elog.CodeOf(err) != code || !strings.Contains(err.Error(), `parameter "analyzer.include"`) {
			t.Errorf("%q: %v", list, err)
		}
	}
}
