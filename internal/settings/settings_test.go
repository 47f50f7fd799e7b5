package settings_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestDefinitionsMakeSense(t *testing.T) {
	for _, d := range settings.Definitions() {
		if err := d.Check(); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
		if d.ShortDesc == "" {
			t.Errorf("%s has no description", d.Name)
		}
	}
}

func TestLogDestinationTakesOnlyTheWordsItKnows(t *testing.T) {
	for _, d := range settings.Definitions() {
		if d.Name != settings.LogDestination {
			continue
		}
		if v, err := guc.Parse(d, "jsonlog, stderr"); err != nil || v.String() != "jsonlog, stderr" {
			t.Errorf("got %v, %v", v, err)
		}
		_, err := guc.Parse(d, "csvlog")
		e := elog.AsErrorData(err, elog.Error)
		if e == nil || e.Code != elog.InvalidParameterValue || e.Message != `invalid value for parameter "log_destination": "csvlog"` ||
			e.Detail != `Unrecognized key word: "csvlog".` {
			t.Errorf("got %+v", e)
		}
		return
	}
	t.Error("there is no such setting")
}

// It is part of process titles: as long as a NAME, and nothing that could spoil
// a terminal.
func TestTheClusterNameFitsAProcessTitle(t *testing.T) {
	for name, detail := range map[string]string{
		strings.Repeat("x", 63): "", " ~": "",
		strings.Repeat("x", 64): "The name is longer than 63 bytes.",
		"a\tb":                  "The name must consist of printable ASCII characters.",
		"a\x7f":                 "The name must consist of printable ASCII characters.",
		"é":                     "The name must consist of printable ASCII characters.",
	} {
		store := guc.NewStore(settings.Definitions()...)
		err := store.Override(settings.ClusterName, name)
		if detail == "" {
			if err != nil || store.String(settings.ClusterName) != name {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		e := elog.AsErrorData(err, elog.Error)
		if e == nil || e.Code != elog.InvalidParameterValue || e.Message != "invalid value for parameter \"cluster_name\": \""+name+"\"" || e.Detail != detail {
			t.Errorf("%q: got %+v", name, e)
		}
	}
}

func TestConfigureLogMakesALogWhatTheSettingsSay(t *testing.T) {
	var buf strings.Builder
	log := elog.NewLogger(&buf)
	settings.ConfigureLog(log, guc.NewStore(settings.Definitions()...))
	log.Logf(elog.Notice, "not logged")
	log.Logf(elog.Warning, "by default")
	store, reports := guc.NewChildStore([]guc.Item{
		{Name: settings.LogDestination, Value: "jsonlog,stderr"}, {Name: settings.LogMinMessages, Value: "error"},
		{Name: settings.LogLinePrefix, Value: "%l "},
	}, settings.Definitions()...)
	if len(reports) != 0 {
		t.Fatal(reports)
	}
	settings.ConfigureLog(log, store)
	log.Logf(elog.Warning, "not logged")
	log.Logf(elog.Error, "now")
	want := regexp.MustCompile(`^[-0-9]+ [.:0-9]+ \S+ \[\d+\] WARNING:  by default\n\{.*"message":"now".*\}\n2 ERROR:  now\n$`)
	if !want.MatchString(buf.String()) {
		t.Errorf("got %s", &buf)
	}
}

func TestSampleShowsEverySettingWithItsDefault(t *testing.T) {
	commentedIn := strings.Builder{}
	for line := range strings.Lines(settings.Sample("")) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "#-") {
			line = line[1:]
		}
		commentedIn.WriteString(line)
	}
	conf := guc.ParseBytes("sample", []byte(commentedIn.String()))
	if conf.BadFile != "" {
		t.Fatalf("the sample has errors: %v", conf.Reports)
	}
	shown := make(map[string]string)
	for _, it := range conf.Items {
		shown[it.Name] = it.Value
	}
	for _, d := range settings.Definitions() {
		if value, ok := shown[d.Name]; !ok || value != d.Default {
			t.Errorf("%s: the sample has %q (%v), the default is %q", d.Name, value, ok, d.Default)
		}
		delete(shown, d.Name)
	}
	if len(shown) != 0 {
		t.Errorf("the sample has settings that do not exist: %v", shown)
	}
}

func TestTheManualListsEverySetting(t *testing.T) {
	manual, err := os.ReadFile("../../docs/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (?:`([^`]*)`)?[^|]*\\| (.*) \\|$").FindAllStringSubmatch(string(manual), -1)
	listed := make(map[string][]string)
	for _, row := range rows {
		listed[row[1]] = row
	}
	for _, d := range settings.Definitions() {
		row, ok := listed[d.Name]
		if !ok || row[2] != d.Default || strings.Contains(row[3], "(restart)") != (d.Context == guc.Postmaster) {
			t.Errorf("%s: the manual has %q; the default is %q, the context %v", d.Name, row, d.Default, d.Context)
		}
	}
}

func TestSampleQuotesTheConninfo(t *testing.T) {
	for _, conninfo := range []string{"host=/tmp user=me", `password='it''s \\ "x"'`, "a\nb"} {
		conf := guc.ParseBytes("sample", []byte(settings.Sample(conninfo)))
		if conf.BadFile != "" || len(conf.Items) != 1 || conf.Items[0].Value != conninfo {
			t.Errorf("%q: got %+v", conninfo, conf)
		}
	}
}
