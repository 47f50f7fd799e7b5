package guc_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

// keep is a setting of a library, changed.
func keep(change ...func(*guc.Definition)) guc.Definition {
	d := guc.Definition{Name: "lib.keep", Type: guc.TypeInt, Context: guc.Sighup, Unit: guc.UnitS, Max: 1_000_000, Default: "10"}
	for _, c := range change {
		c(&d)
	}
	return d
}

func defaulting(to string) func(*guc.Definition) { return func(d *guc.Definition) { d.Default = to } }
func fixed(d *guc.Definition)                    { d.Context = guc.Postmaster }
func inMS(d *guc.Definition)                     { d.Unit = guc.UnitMS }
func atMost20(d *guc.Definition)                 { d.Max = 20 }
func asText(d *guc.Definition) {
	*d = guc.Definition{Name: d.Name, Type: guc.TypeString, Context: d.Context, Default: "none"}
}
func asBool(d *guc.Definition) {
	*d = guc.Definition{Name: d.Name, Type: guc.TypeBool, Context: d.Context, Default: "off"}
}

func defining(defs ...guc.Definition) guc.Registered { return guc.Registered{Definitions: defs} }

// What becomes of a setting when the library that defines it is another.
func TestARedefinitionKeepsWhatItCan(t *testing.T) {
	for name, tt := range map[string]struct {
		conf    string
		was, is guc.Registered
		change  string // kind, value before, value after
		reports []string
		pending bool
	}{
		"the same":                      {"lib.keep = 30", defining(keep()), defining(keep()), "", nil, false},
		"new":                           {"", defining(), defining(keep()), "new,,10s", nil, false},
		"new, and set":                  {"lib.keep = 30", defining(), defining(keep()), "new,,30s", nil, false},
		"new, and wrongly set":          {"lib.keep = x", defining(), defining(keep()), "new,,10s", []string{`WARNING 22023: invalid value for parameter "lib.keep": "x" | DETAIL: The parameter has its default, "10s", instead. | CONTEXT: line 1 of configuration file "h.conf"`}, false},
		"new, of the postmaster":        {"lib.keep = 30", defining(), defining(keep(fixed)), "new,,30s", nil, false},
		"gone":                          {"", defining(keep()), defining(), "gone,10s,", nil, false},
		"gone, but set":                 {"lib.keep = 90", defining(keep()), defining(), "gone,90s,90s", nil, false},
		"another default":               {"", defining(keep()), defining(keep(defaulting("20"))), "changed,10s,20s", nil, false},
		"another default, and set":      {"lib.keep = 30", defining(keep()), defining(keep(defaulting("20"))), "changed,30s,30s", nil, false},
		"another unit":                  {"lib.keep = 30", defining(keep()), defining(keep(inMS)), "changed,30s,30s", nil, false},
		"a narrower range":              {"lib.keep = 30", defining(keep()), defining(keep(atMost20)), "changed,30s,10s", []string{`WARNING 22023: 30 s is outside the valid range for parameter "lib.keep" (0 s .. 20 s) | DETAIL: The parameter has its default, "10s", instead. | CONTEXT: line 1 of configuration file "h.conf"`}, false},
		"another type that takes it":    {"lib.keep = 30", defining(keep()), defining(keep(asText)), "changed,30s,30s", nil, false},
		"another type that does not":    {"lib.keep = 30", defining(keep()), defining(keep(asBool)), "changed,30s,off", []string{`WARNING 22023: parameter "lib.keep" requires a Boolean value | DETAIL: The parameter has its default, "off", instead. | CONTEXT: line 1 of configuration file "h.conf"`}, false},
		"the postmaster's default":      {"", defining(keep(fixed)), defining(keep(fixed, defaulting("20"))), "changed,10s,10s", []string{`LOG 55P02: parameter "lib.keep" cannot be changed without restarting the server`}, true},
		"the postmaster's, and set":     {"lib.keep = 30", defining(keep(fixed)), defining(keep(fixed, defaulting("20"))), "changed,30s,30s", nil, false},
		"now the postmaster's":          {"", defining(keep()), defining(keep(fixed, defaulting("20"))), "changed,10s,10s", []string{`LOG 55P02: parameter "lib.keep" cannot be changed without restarting the server`}, true},
		"not the postmaster's any more": {"lib.keep = 30", defining(keep(fixed)), defining(keep()), "changed,30s,30s", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := guc.NewStore(hostDefs()...)
			wantReports(t, s.ApplyStartup(conf(tt.conf)))
			if _, _, err := s.Redefine(guc.Registered{}, tt.was); err != nil {
				t.Fatal(err)
			}
			s.EndStartup()
			changes, reports, err := s.Redefine(tt.was, tt.is)
			if err != nil {
				t.Fatal(err)
			}
			wantReports(t, reports, tt.reports...)
			got := ""
			for _, c := range changes {
				now, ok := s.Lookup("lib.keep")
				if ok && c.Kind != guc.ChangeGone && c.Is != now.Show() || now.PendingRestart != tt.pending {
					t.Errorf("it has %q, pending %v, and not %q", now.Show(), now.PendingRestart, c.Is)
				}
				if c.Kind == guc.ChangeGone && ok {
					if !now.Placeholder {
						t.Error("it is still defined")
					}
					c.Is = now.Show()
				}
				got += string(c.Kind) + "," + c.Was + "," + c.Is
			}
			if got != tt.change {
				t.Errorf("got %q, want %q", got, tt.change)
			}
			wantChildAgrees(t, s, tt.is)
		})
	}
}

// wantChildAgrees has a child start from what the store hands out.
func wantChildAgrees(t *testing.T, s *guc.Store, is guc.Registered) {
	t.Helper()
	child, reports := guc.NewChildStore(s.Items(), hostDefs()...)
	wantReports(t, reports)
	for _, d := range is.Definitions {
		if _, err := child.Define(d); err != nil {
			t.Error(err)
		}
		wantShow(t, child, d.Name, mustShow(t, s, d.Name))
	}
}

// A redefinition takes place as a whole, or not at all.
func TestARefusedRedefinitionChangesNothing(t *testing.T) {
	for says, is := range map[string]guc.Registered{
		`attempt to redefine parameter "other.x"`:             {Definitions: []guc.Definition{keep(defaulting("20")), {Name: "other.x", Type: guc.TypeBool, Default: "on"}}, Reserved: []string{"lib"}},
		`attempt to redefine parameter "LIB.keep"`:            defining(keep(defaulting("20")), keep(func(d *guc.Definition) { d.Name = "LIB.keep" })),
		`invalid definition of parameter "lib.keep"`:          defining(keep(defaulting("x"))),
		`invalid configuration parameter name "cluster_name"`: defining(guc.Definition{Name: "cluster_name", Type: guc.TypeString}),
	} {
		s := guc.NewStore(hostDefs()...)
		wantReports(t, s.ApplyStartup(conf("lib.keep = 30\nlib.later = 1")))
		was := defining(keep())
		for _, r := range []guc.Registered{was, defining(guc.Definition{Name: "other.x", Type: guc.TypeBool, Default: "off"})} {
			if _, _, err := s.Redefine(guc.Registered{}, r); err != nil {
				t.Fatal(err)
			}
		}
		before := s.Settings()
		if _, _, err := s.Redefine(was, is); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
		if !slices.EqualFunc(before, s.Settings(), func(a, b guc.Setting) bool {
			return a.Definition.Name == b.Definition.Name && a.Value == b.Value && a.Placeholder == b.Placeholder
		}) {
			t.Errorf("%s: the settings have changed", says)
		}
	}
}

// A prefix is reserved as long as the library says so.
func TestAPrefixIsReservedByTheLibraryThatIsThere(t *testing.T) {
	s := started(t, "lib.typo = 1")
	reserving := guc.Registered{Definitions: []guc.Definition{keep()}, Reserved: []string{"lib"}}
	_, reports, err := s.Redefine(guc.Registered{}, reserving)
	if err != nil {
		t.Fatal(err)
	}
	wantReports(t, reports, `WARNING 42602: invalid configuration parameter name "lib.typo", removing it | DETAIL: "lib" is now a reserved prefix. | HINT: Perhaps you meant "lib.keep". | CONTEXT: line 1 of configuration file "h.conf"`)
	if reports := s.ApplyReload(conf("lib.typo = 1")); len(reports) == 0 {
		t.Error("the prefix is not reserved")
	}
	if _, _, err := s.Redefine(reserving, defining(keep())); err != nil {
		t.Fatal(err)
	}
	wantReports(t, s.ApplyReload(conf("lib.typo = 1")), `LOG 00000: parameter "lib.typo" changed to "1"`)
}

func mustShow(t *testing.T, s *guc.Store, name string) string {
	t.Helper()
	text, err := s.Show(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
