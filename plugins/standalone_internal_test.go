package plugins

import (
	"runtime/debug"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

func TestAProgramSaysWhatTheGoCommandHasWrittenIntoIt(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for want, info := range map[string]debug.BuildInfo{
		"v1.2.3, of example.com/mine, go1.26.0": {GoVersion: "go1.26.0", Main: debug.Module{Path: "example.com/mine", Version: "v1.2.3"}},
		"(devel), revision abc, go1.26.0":       {GoVersion: "go1.26.0", Settings: []debug.BuildSetting{setting("vcs.revision", "abc"), setting("vcs.modified", "false")}},
		"(devel), revision abc with changes, of m, go1.26.0": {
			GoVersion: "go1.26.0", Main: debug.Module{Path: "m", Version: "(devel)"},
			Settings: []debug.BuildSetting{setting("vcs.revision", "abc"), setting("vcs.modified", "true")},
		},
	} {
		if got := versionOf(&info); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestARangeIsShownOnlyIfThereIsOne(t *testing.T) {
	for want, d := range map[string]guc.Definition{
		"":           {Name: "m.a", Type: guc.TypeInt, Min: -1 << 31, Max: 1<<31 - 1, Default: "0"},
		"at least 1": {Name: "m.b", Type: guc.TypeInt, Min: 1, Max: 1<<31 - 1, Default: "1"},
		"1s .. 1min": {Name: "m.c", Type: guc.TypeInt, Unit: guc.UnitS, Min: 1, Max: 60, Default: "1"},
		"near | far": {Name: "m.d", Type: guc.TypeEnum, EnumOptions: []string{"near", "far"}, Default: "near"},
		"-5 .. 5":    {Name: "m.e", Type: guc.TypeInt, Min: -5, Max: 5, Default: "0"},
		"at least 0": {Name: "m.f", Type: guc.TypeInt, Unit: guc.UnitS, Max: 1<<31 - 1, Default: "0"},
	} {
		if got := describeRange(d); got != want {
			t.Errorf("%s: got %q, want %q", d.Name, got, want)
		}
	}
}

// A hook may need what only Init has set up, or panic.
func TestDefaultsAreShownWithoutTheHooks(t *testing.T) {
	d := guc.Definition{Name: "m.a", Type: guc.TypeString, Default: "it's", ShowHook: func(guc.Value) string { panic("no") }}
	if got := showDefault(d, d.Default); got != "'it''s'" {
		t.Errorf("got %s", got)
	}
}
