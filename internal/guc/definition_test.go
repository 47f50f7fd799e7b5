package guc_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
)

func TestCheckRefusesNonsense(t *testing.T) {
	const components = ` | DETAIL: Custom parameter names must be two or more simple identifiers separated by dots.`
	const invalid = `ERROR 22023: invalid definition of parameter "a.b" | DETAIL: `
	enum := func(d guc.Definition) guc.Definition {
		d.Name, d.Type = "a.b", guc.TypeEnum
		return d
	}
	for _, tt := range []struct {
		def  guc.Definition
		want string
	}{
		{guc.Definition{}, `ERROR 42602: invalid configuration parameter name ""` + components},
		{guc.Definition{Name: "a..b"}, `ERROR 42602: invalid configuration parameter name "a..b"` + components},
		{guc.Definition{Name: "a.1"}, `ERROR 42602: invalid configuration parameter name "a.1"` + components},
		{guc.Definition{Name: "a b.c"}, `ERROR 42602: invalid configuration parameter name "a b.c"` + components},
		{guc.Definition{Name: "a.b", Type: 99, Context: -1}, invalid + `It has the context -1, the type 99 and the unit 0.`},
		{guc.Definition{Name: "a.b", Type: guc.TypeBool, Unit: guc.UnitS}, invalid + `A parameter of type bool can't have a unit.`},
		{guc.Definition{Name: "a.b", Type: guc.TypeInt, Min: 2, Max: 1}, invalid + `The minimum, 2, is greater than the maximum, 1.`},
		{guc.Definition{Name: "a.b", Type: guc.TypeInt, Max: 1 << 40}, invalid + `The range 0 .. 1099511627776 exceeds the integer range.`},
		{guc.Definition{Name: "a.b", Type: guc.TypeReal, MaxReal: math.Inf(1)}, invalid + `The minimum and the maximum must be finite.`},
		{guc.Definition{Name: "a.b", Type: guc.TypeReal, MinReal: 1}, invalid + `The minimum, 1, is greater than the maximum, 0.`},
		{guc.Definition{Name: "a.b", Type: guc.TypeInt, Max: 5, Default: "6"}, invalid + `The default is refused: 6 is outside the valid range for parameter "a.b" (0 .. 5).`},
		{guc.Definition{Name: "a.b", Type: guc.TypeBool}, invalid + `The default is refused: parameter "a.b" requires a Boolean value.`},
		{enum(guc.Definition{}), invalid + `An enum needs at least one option.`},
		{enum(guc.Definition{EnumOptions: []string{"x", "X"}}), invalid + `The option "X" is empty or there twice.`},
		{enum(guc.Definition{EnumOptions: []string{"x"}, EnumAliases: map[string]string{"y": "z"}}), invalid + `The alias "y" is there twice, or stands for no option.`},
		{enum(guc.Definition{EnumOptions: []string{"x"}, Default: "y"}), invalid + `The default is refused: invalid value for parameter "a.b": "y".`},
	} {
		wantError(t, tt.def.Check(), tt.want)
	}
}

func TestCheckRunsTheHookOnTheDefault(t *testing.T) {
	def := guc.Definition{Name: "a.b", Type: guc.TypeString, CheckHook: func(guc.Value) error { return errors.New("Never.") }}
	wantError(t, def.Check(), `ERROR 22023: invalid definition of parameter "a.b" | DETAIL: The default is refused: invalid value for parameter "a.b": "": Never.`)
}

func TestCheckAcceptsWhatMakesSense(t *testing.T) {
	for _, def := range append(hostDefs(), naptime(),
		guc.Definition{Name: "a.b.c", Type: guc.TypeReal, Unit: guc.UnitMS, MaxReal: 5, Default: "2500us"},
		guc.Definition{Name: "é._x$1", Type: guc.TypeString},
	) {
		if err := def.Check(); err != nil {
			t.Errorf("%s: %v", def.Name, err)
		}
	}
}

func TestDefinitionsCrossProcessesAsJSON(t *testing.T) {
	def := guc.Definition{
		Name: "a.b", Type: guc.TypeEnum, Context: guc.Suset, EnumOptions: []string{"x", "y"}, EnumAliases: map[string]string{"z": "x"},
		Default: "x", ShortDesc: "Short.", LongDesc: "Long.", Flags: guc.FlagSecret,
	}
	text, err := json.Marshal(def)
	if err != nil {
		t.Fatal(err)
	}
	var got guc.Definition
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, def) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{`{"type":"blob"}`, `{"context":"root"}`, `{"unit":"furlong"}`, `{"type":7}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestWordsAreThoseOfPgSettings(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{guc.Suset.String(), "superuser"}, {guc.SuperuserBackend.String(), "superuser-backend"}, {guc.Sighup.String(), "sighup"},
		{guc.SourceFile.String(), "configuration file"}, {guc.SourceCommandLine.String(), "command line"},
		{guc.TypeInt.String(), "integer"}, {guc.UnitKB.String(), "kB"}, {guc.UnitNone.String(), ""}, {guc.Context(-1).String(), "???"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func FuzzAnyDefinitionIsRefusedOrWorks(f *testing.F) {
	for _, text := range []string{
		`{"name":"a.b","type":"integer","unit":"min","min":-1,"max":99,"default":"1h","context":"sighup"}`,
		`{"name":"a.b","type":"enum","enum_options":["x"],"enum_aliases":{"y":"x"},"default":"Y"}`,
		`{"name":"a.b","type":"real","max_real":1e308,"default":"0x1p3","context":"postmaster"}`,
		`{"name":"a..b"}`,
	} {
		f.Add([]byte(text), "1")
	}
	f.Fuzz(func(t *testing.T, text []byte, value string) {
		var def guc.Definition
		if json.Unmarshal(text, &def) != nil {
			return
		}
		checked := def.Check()
		_, _ = guc.Parse(def, value)
		s := guc.NewStore()
		s.ApplyStartup(guc.Config{Items: []guc.Item{{Name: def.Name, Value: value, Source: guc.SourceCommandLine}}})
		if _, err := s.Define(def); err == nil && checked != nil {
			t.Errorf("Define accepted what Check refuses: %v", checked)
		}
		allAcceptable(t, s)
	})
}
