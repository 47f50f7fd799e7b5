package elog_test

import (
	"errors"
	"testing"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

const both = elog.DestinationStderr | elog.DestinationJSONLog

// destinations are values of log_destination; PostgreSQL is asked about the
// same ones.
var destinations = []struct {
	list   string
	want   elog.Destination
	detail string // of the refusal
}{
	{"stderr", elog.DestinationStderr, ""},
	{"jsonlog", elog.DestinationJSONLog, ""},
	{"stderr,jsonlog", both, ""},
	{" JSONlog ,\t\"StdErr\" ", both, ""},
	{"stderr,stderr", elog.DestinationStderr, ""},
	{"", 0, ""},
	{"  ", 0, ""},
	{"jsonlog,", 0, "List syntax is invalid."},
	{",jsonlog", 0, "List syntax is invalid."},
	{"stderr jsonlog", 0, "List syntax is invalid."},
	{"stderr;jsonlog", 0, `Unrecognized key word: "stderr;jsonlog".`},
	{`"stderr`, 0, "List syntax is invalid."},
	{`"`, 0, "List syntax is invalid."},
	{`"stderr"x`, 0, "List syntax is invalid."},
	{`stderr"x"`, 0, `Unrecognized key word: "stderr"x"".`},
	{`"std""err"`, 0, `Unrecognized key word: "std"err".`},
	{`""`, 0, `Unrecognized key word: "".`},
	{"NoWhere", 0, `Unrecognized key word: "nowhere".`},
	{`"NoWhere"`, 0, `Unrecognized key word: "NoWhere".`},
	{"stderr,json", 0, `Unrecognized key word: "json".`},
}

func TestParseDestinations(t *testing.T) {
	for _, tt := range destinations {
		got, err := elog.ParseDestinations(tt.list)
		if tt.detail == "" {
			if err != nil || got != tt.want {
				t.Errorf("%q: got %d, %v, want %d", tt.list, got, err, tt.want)
			}
			continue
		}
		report, ok := errors.AsType[*elog.ErrorData](err)
		if !ok || report.Detail != tt.detail || report.Code != elog.InvalidParameterValue ||
			report.Message != `invalid value for parameter "log_destination": "`+tt.list+`"` {
			t.Errorf("%q: got %+v, want the detail %q", tt.list, err, tt.detail)
		}
	}
}
