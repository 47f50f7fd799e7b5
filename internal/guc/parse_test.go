package guc_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

func intIn(unit guc.Unit) guc.Definition {
	return guc.Definition{Name: "x", Type: guc.TypeInt, Unit: unit, Min: math.MinInt32, Max: math.MaxInt32, Default: "0"}
}

func realIn(unit guc.Unit) guc.Definition {
	return guc.Definition{Name: "x", Type: guc.TypeReal, Unit: unit, MinReal: -math.MaxFloat64, MaxReal: math.MaxFloat64, Default: "0"}
}

var numbers = []struct {
	def        guc.Definition
	text       string
	canonical  string
	show       string
	wantFailed bool
}{
	{intIn(guc.UnitNone), "10", "10", "10", false},
	{intIn(guc.UnitNone), " +10 ", "10", "10", false},
	{intIn(guc.UnitNone), "017", "15", "15", false},
	{intIn(guc.UnitNone), "-0x1F", "-31", "-31", false},
	{intIn(guc.UnitNone), "1e3", "1000", "1000", false},
	{intIn(guc.UnitNone), ".5", "0", "0", false},
	{intIn(guc.UnitNone), "1.5", "2", "2", false},
	{intIn(guc.UnitNone), "2.5", "2", "2", false},
	{intIn(guc.UnitNone), "08", "", "", true},
	{intIn(guc.UnitNone), "0x", "", "", true},
	{intIn(guc.UnitNone), " .5", "", "", true},
	{intIn(guc.UnitNone), "", "", "", true},
	{intIn(guc.UnitNone), "1_000", "", "", true},
	{intIn(guc.UnitNone), "10s", "", "", true},
	{intIn(guc.UnitNone), "1e400", "", "", true},
	{intIn(guc.UnitNone), "1e-400", "", "", true},
	{intIn(guc.UnitS), "10", "10", "10s", false},
	{intIn(guc.UnitS), "0", "0", "0", false},
	{intIn(guc.UnitS), "-1", "-1", "-1", false},
	{intIn(guc.UnitS), "1.5min", "90", "90s", false},
	{intIn(guc.UnitS), "2 min ", "120", "2min", false},
	{intIn(guc.UnitS), "1500ms", "2", "2s", false},
	{intIn(guc.UnitS), "0x10h", "57600", "16h", false},
	{intIn(guc.UnitMin), "90s", "2", "2min", false},
	{intIn(guc.UnitMS), "1h", "3600000", "1h", false},
	{intIn(guc.UnitKB), "64", "64", "64kB", false},
	{intIn(guc.UnitKB), "30.1GB", "31561728", "30822MB", false},
	{intIn(guc.UnitMB), "1TB", "1048576", "1TB", false},
	{intIn(guc.UnitByte), "1kB", "1024", "1kB", false},
	{intIn(guc.UnitByte), "1025", "1025", "1025B", false},
	{realIn(guc.UnitNone), "1.25", "1.25", "1.25", false},
	{realIn(guc.UnitNone), "0x1.8", "1.5", "1.5", false},
	{realIn(guc.UnitNone), "0x.8", "0.5", "0.5", false},
	{realIn(guc.UnitNone), "0x.", "", "", true},
	{intIn(guc.UnitNone), "0x.8", "", "", true},
	{realIn(guc.UnitNone), "1234567", "1.234567e+06", "1.23457e+06", false},
	{realIn(guc.UnitNone), "100000", "100000", "100000", false},
	{realIn(guc.UnitNone), "nan", "", "", true},
	{realIn(guc.UnitNone), "1e", "", "", true},
	{realIn(guc.UnitMS), "1500us", "1.5", "1500us", false},
	{realIn(guc.UnitMS), "2s", "2000", "2s", false},
	{realIn(guc.UnitMS), "-2", "-2", "-2", false},
}

func TestParseReadsNumbersAsPostgresDoes(t *testing.T) {
	for _, tt := range numbers {
		v, err := guc.Parse(tt.def, tt.text)
		if tt.wantFailed {
			if err == nil {
				t.Errorf("%q in %q: accepted as %s", tt.text, tt.def.Unit, v)
			}
			continue
		}
		if err != nil || v.String() != tt.canonical || v.Show() != tt.show {
			t.Errorf("%q in %q: got %s, %s, %v, want %s, %s", tt.text, tt.def.Unit, v, v.Show(), err, tt.canonical, tt.show)
			continue
		}
		if again, err := guc.Parse(tt.def, v.String()); err != nil || again != v {
			t.Errorf("%s doesn't read back: %v, %v", v, again, err)
		}
	}
}

func TestParseReadsBooleansByUnambiguousPrefix(t *testing.T) {
	def := guc.Definition{Name: "b", Type: guc.TypeBool}
	for text, want := range map[string]bool{
		"on": true, "ON": true, "t": true, "tru": true, "true": true, "y": true, "yes": true, "1": true,
		"of": false, "off": false, "f": false, "False": false, "n": false, "no": false, "0": false,
	} {
		if v, err := guc.Parse(def, text); err != nil || v.Bool() != want {
			t.Errorf("%q: got %v, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "o", "onn", "truex", " on", "on ", "10", "2"} {
		_, err := guc.Parse(def, text)
		wantError(t, err, `ERROR 22023: parameter "b" requires a Boolean value`)
	}
}

func TestParseReadsEnumsInAnyCase(t *testing.T) {
	def := guc.Definition{
		Name: "e", Type: guc.TypeEnum, EnumOptions: []string{"Cluster", "auto"}, EnumAliases: map[string]string{"whole": "Cluster"},
	}
	for text, want := range map[string]string{"CLUSTER": "Cluster", "Whole": "Cluster", "auto": "auto"} {
		if v, err := guc.Parse(def, text); err != nil || v.String() != want {
			t.Errorf("%q: got %v, %v", text, v, err)
		}
	}
}

func TestParseMessages(t *testing.T) {
	limited := guc.Definition{Name: "x", Type: guc.TypeInt, Unit: guc.UnitS, Min: 1, Max: 10}
	plain := guc.Definition{Name: "x", Type: guc.TypeInt, Min: 0, Max: 5}
	share := guc.Definition{Name: "x", Type: guc.TypeReal, Unit: guc.UnitMS, MinReal: 0, MaxReal: 100}
	scope := guc.Definition{Name: "x", Type: guc.TypeEnum, EnumOptions: []string{"cluster", "auto"}, EnumAliases: map[string]string{"all": "cluster"}}
	const timeHint = ` | HINT: Valid units for this parameter are "us", "ms", "s", "min", "h", and "d".`
	const memoryHint = ` | HINT: Valid units for this parameter are "B", "kB", "MB", "GB", and "TB".`
	for _, tt := range []struct {
		def        guc.Definition
		text, want string
	}{
		{limited, "soon", `ERROR 22023: invalid value for parameter "x": "soon"`},
		{limited, "1 sec", `ERROR 22023: invalid value for parameter "x": "1 sec"` + timeHint},
		{limited, "1S", `ERROR 22023: invalid value for parameter "x": "1S"` + timeHint},
		{intIn(guc.UnitKB), "1KB", `ERROR 22023: invalid value for parameter "x": "1KB"` + memoryHint},
		{realIn(guc.UnitMS), "1MB", `ERROR 22023: invalid value for parameter "x": "1MB"` + timeHint},
		{limited, "100000d", `ERROR 22023: invalid value for parameter "x": "100000d" | HINT: Value exceeds integer range.`},
		{limited, "99999999999999999999", `ERROR 22023: invalid value for parameter "x": "99999999999999999999" | HINT: Value exceeds integer range.`},
		{plain, "1s", `ERROR 22023: invalid value for parameter "x": "1s"`},
		{limited, "0", `ERROR 22023: 0 s is outside the valid range for parameter "x" (1 s .. 10 s)`},
		{limited, "1min", `ERROR 22023: 60 s is outside the valid range for parameter "x" (1 s .. 10 s)`},
		{plain, "6", `ERROR 22023: 6 is outside the valid range for parameter "x" (0 .. 5)`},
		{share, "-0.5", `ERROR 22023: -0.5 ms is outside the valid range for parameter "x" (0 ms .. 100 ms)`},
		{share, "-inf", `ERROR 22023: -Infinity ms is outside the valid range for parameter "x" (0 ms .. 100 ms)`},
		{scope, "node", `ERROR 22023: invalid value for parameter "x": "node" | HINT: Available values: cluster, auto.`},
	} {
		_, err := guc.Parse(tt.def, tt.text)
		wantError(t, err, tt.want)
	}
}

func TestCheckHookRefusesWithItsOwnTexts(t *testing.T) {
	def := guc.Definition{Name: "x", Type: guc.TypeInt, Max: 9, CheckHook: func(v guc.Value) error {
		switch v.Int() {
		case 1:
			return errors.New("One is too few.")
		case 2:
			return elog.New(elog.Error, elog.ConfigurationLimitExceeded, "two is taken").WithDetail("Detail.").WithHint("Hint.")
		case 3:
			return &elog.ErrorData{Hint: "Try 4."}
		}
		return nil
	}}
	for text, want := range map[string]string{
		"1": `ERROR 22023: invalid value for parameter "x": 1 | DETAIL: One is too few.`,
		"2": `ERROR 53400: two is taken | DETAIL: Detail. | HINT: Hint.`,
		"3": `ERROR 22023: invalid value for parameter "x": 3 | HINT: Try 4.`,
	} {
		_, err := guc.Parse(def, text)
		wantError(t, err, want)
	}
	if v, err := guc.Parse(def, "4"); err != nil || v.Int() != 4 {
		t.Errorf("got %v, %v", v, err)
	}
	name := guc.Definition{Name: "s", Type: guc.TypeString, CheckHook: func(guc.Value) error { return errors.New("No.") }}
	_, err := guc.Parse(name, "a b")
	wantError(t, err, `ERROR 22023: invalid value for parameter "s": "a b" | DETAIL: No.`)
}

func TestDurationSaturates(t *testing.T) {
	for _, tt := range []struct {
		def  guc.Definition
		text string
		want time.Duration
	}{
		{intIn(guc.UnitS), "1.5min", 90 * time.Second},
		{intIn(guc.UnitMS), "-1", -time.Millisecond},
		{realIn(guc.UnitMS), "0.5", 500 * time.Microsecond},
		{intIn(guc.UnitMin), "2147483647", math.MaxInt64},
		{realIn(guc.UnitS), "-1e300", math.MinInt64},
	} {
		if v, err := guc.Parse(tt.def, tt.text); err != nil || v.Duration() != tt.want {
			t.Errorf("%s: got %v, %v, want %v", tt.text, v.Duration(), err, tt.want)
		}
	}
}

func TestAccessorsPanicOnAnotherType(t *testing.T) {
	v, _ := guc.Parse(intIn(guc.UnitKB), "1")
	for name, access := range map[string]func(){
		"Bool": func() { v.Bool() }, "Float": func() { v.Float() }, "Duration": func() { v.Duration() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of an integer did not panic", name)
				}
			}()
			access()
		}()
	}
}

func FuzzParseReadsBackWhatItShows(f *testing.F) {
	for _, text := range []string{"10", "1.5min", "0x1F", "on", "30.1GB", "1e400", "-inf", "auto", " .5", "0x1.8p3"} {
		f.Add(text)
	}
	defs := []guc.Definition{
		intIn(guc.UnitNone), intIn(guc.UnitMin), intIn(guc.UnitByte), realIn(guc.UnitNone), realIn(guc.UnitMB), realIn(guc.UnitS),
		{Name: "b", Type: guc.TypeBool}, {Name: "s", Type: guc.TypeString}, {Name: "e", Type: guc.TypeEnum, EnumOptions: []string{"auto", "off"}},
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, def := range defs {
			v, err := guc.Parse(def, text)
			if err != nil {
				continue
			}
			if again, err := guc.Parse(def, v.String()); err != nil || again != v {
				t.Errorf("%s %q: %q reads back as %q, %v", def.Type, text, v, again, err)
			}
			if _, err := guc.Parse(def, v.Show()); err != nil && def.Type != guc.TypeReal {
				t.Errorf("%s %q: %q as shown is refused: %v", def.Type, text, v.Show(), err)
			}
		}
	})
}
