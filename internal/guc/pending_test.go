package guc_test

import "testing"

// The life of a pending-restart mark, step by step.
func TestARestartIsPendingAsLongAsTheFilesWantIt(t *testing.T) {
	const four, five = "max_worker_processes = 4", "max_worker_processes = 5"
	for name, tt := range map[string]struct {
		start   string
		reloads []string
		pending []bool
	}{
		"put back":              {four, []string{five, four, four}, []bool{true, false, false}},
		"put back otherwise":    {four, []string{five, "max_worker_processes = 0x4"}, []bool{true, false}},
		"removed and put back":  {four, []string{"", "", four}, []bool{true, true, false}},
		"removed and changed":   {four, []string{"", five, four}, []bool{true, true, false}},
		"added and removed":     {"", []string{four, "", ""}, []bool{true, false, false}},
		"added at its default":  {"", []string{"max_worker_processes = 8", ""}, []bool{false, false}},
		"invalid":               {four, []string{"max_worker_processes = x"}, []bool{false}},
		"invalid after changed": {four, []string{five, "max_worker_processes = x", four}, []bool{true, true, false}},
		"broken file":           {four, []string{five, "?", four, "?"}, []bool{true, true, false, false}},
		"twice":                 {four, []string{five + "\n" + four, four + "\n" + five}, []bool{false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(t, tt.start)
			before, _ := s.Show("max_worker_processes")
			for i, text := range tt.reloads {
				s.ApplyReload(conf(text))
				if isPending(s) != tt.pending[i] {
					t.Errorf("reload %d, %q: pending %v", i+1, text, isPending(s))
				}
				wantShow(t, s, "max_worker_processes", before)
			}
		})
	}
}

func TestARestartIsNotPendingForWhatTheCommandLineHas(t *testing.T) {
	s := started(t, "", "max_worker_processes=6")
	for _, text := range []string{"max_worker_processes = 7", ""} {
		wantReports(t, s.ApplyReload(conf(text)))
		if isPending(s) {
			t.Errorf("%q: pending", text)
		}
	}
}

func TestAnUnknownNameIsReportedAtEachPlace(t *testing.T) {
	s := started(t, "")
	const unknown = `LOG 42704: unrecognized configuration parameter "stop_now" in file "h.conf" line `
	wantReports(t, s.ApplyReload(conf("stop_now = 1\nstop_now = 2")), unknown+"1", unknown+"2",
		`LOG F0000: configuration file "h.conf" contains errors; no changes were applied`)
}

func TestTheFileThatCannotBeReadIsTheOneInTheSummary(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "sub.conf", "stop_now = 1")
	c := twoFiles(t, dir, "include 'sub.conf'", "?")
	reports := started(t, "").ApplyReload(c)
	wantReports(t, reports[len(reports)-1:], `LOG F0000: configuration file "`+dir+`/h.auto.conf" contains errors; no changes were applied`)
}
