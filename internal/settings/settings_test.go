package settings_test

import (
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
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

func TestSampleQuotesTheConninfo(t *testing.T) {
	for _, conninfo := range []string{"host=/tmp user=me", `password='it''s \\ "x"'`, "a\nb"} {
		conf := guc.ParseBytes("sample", []byte(settings.Sample(conninfo)))
		if conf.BadFile != "" || len(conf.Items) != 1 || conf.Items[0].Value != conninfo {
			t.Errorf("%q: got %+v", conninfo, conf)
		}
	}
}
