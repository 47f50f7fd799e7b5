package plugins_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// A setting whose values are checked further, from which something is derived,
// and which SHOW prints in its own way.
func ExampleIntVariable() {
	var bucketSizes []int // what Assign derives
	initialize := func(p *plugins.Init) error {
		p.DefineCustomInt(plugins.IntVariable{
			Name: "histogram.buckets", Description: "Number of buckets.", Default: 4, Min: 1, Max: 64,
			Check: func(n int) error {
				if n&(n-1) != 0 {
					return elog.New(elog.Error, elog.InvalidParameterValue, "").
						WithDetail("%d is not a power of two.", n).WithHint("Use 1, 2, 4, 8, 16, 32 or 64.")
				}
				return nil
			},
			Assign: func(n int) { bucketSizes = make([]int, n) },
			Show:   func(n int) string { return fmt.Sprintf("%d buckets", n) },
		})
		return nil
	}
	// The host does what follows: at the start of a worker, and at a reload.
	process, err := plugins.Load("histogram.buckets = 8", initialize)
	fmt.Println(process.Show("histogram.buckets"), len(bucketSizes), err)
	fmt.Print(process.Reload("histogram.buckets = 9"))
	fmt.Println(process.Show("histogram.buckets"), len(bucketSizes))
	process.Reload("")
	fmt.Println(process.Show("histogram.buckets"), len(bucketSizes))
	// Output:
	// 8 buckets 8 <nil>
	// LOG:  invalid value for parameter "histogram.buckets": 9
	// DETAIL:  9 is not a power of two.
	// HINT:  Use 1, 2, 4, 8, 16, 32 or 64.
	// CONTEXT:  line 1 of configuration file "pgexthost.conf"
	// 8 buckets 8
	// 4 buckets 4
}

func TestHooksOfEveryKindOfSettingSeeItsGoType(t *testing.T) {
	var calls []string
	process, err := plugins.Load("x.i = 2\nx.d = 2min\nx.s = b\nx.b = on\nx.e = TWO", func(p *plugins.Init) error {
		p.DefineCustomInt(plugins.IntVariable{
			Name: "x.i", Check: check[int](&calls), Assign: assign[int](&calls), Show: show[int],
		})
		p.DefineCustomDuration(plugins.DurationVariable{
			Name: "x.d", Unit: time.Second, Check: check[time.Duration](&calls), Assign: assign[time.Duration](&calls), Show: show[time.Duration],
		})
		p.DefineCustomString(plugins.StringVariable{
			Name: "x.s", Default: "a", Check: check[string](&calls), Assign: assign[string](&calls), Show: show[string],
		})
		p.DefineCustomBool(plugins.BoolVariable{
			Name: "x.b", Check: check[bool](&calls), Assign: assign[bool](&calls), Show: show[bool],
		})
		p.DefineCustomEnum(plugins.EnumVariable{
			Name: "x.e", Default: "one", Options: []string{"one", "two"},
			Check: check[string](&calls), Assign: assign[string](&calls), Show: show[string],
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields("check(0) assign(0) check(2) assign(2) check(0s) assign(0s) check(2m0s) assign(2m0s)" +
		" check(a) assign(a) check(b) assign(b) check(false) assign(false) check(true) assign(true) check(one) assign(one) check(two) assign(two)")
	if !slices.Equal(calls, want) {
		t.Errorf("got %q", calls)
	}
	for name, want := range map[string]string{"x.i": "<2>", "x.d": "<2m0s>", "x.s": "<b>", "x.b": "<true>", "x.e": "<two>"} {
		if got := process.Show(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func check[T any](calls *[]string) func(T) error {
	return func(v T) error { *calls = append(*calls, fmt.Sprintf("check(%v)", v)); return nil }
}

func assign[T any](calls *[]string) func(T) {
	return func(v T) { *calls = append(*calls, fmt.Sprintf("assign(%v)", v)) }
}

func show[T any](v T) string { return fmt.Sprintf("<%v>", v) }

func TestHooksThatAreNotSetChangeNothing(t *testing.T) {
	process, err := plugins.Load("x.d = 90s", func(p *plugins.Init) error {
		p.DefineCustomDuration(plugins.DurationVariable{Name: "x.d", Unit: time.Second})
		return nil
	})
	if got := process.Show("x.d"); got != "90s" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

// evenOnly is an Init with a setting that wants an even number.
func evenOnly(p *plugins.Init) error {
	p.DefineCustomInt(plugins.IntVariable{Name: "x.i", Default: 2, Max: 100, Check: func(n int) error {
		if n%2 != 0 {
			return errors.New("It is odd.")
		}
		return nil
	}})
	return nil
}

// What the preload child says need not be said again, but a value that a hook
// refuses may have come after the preload child was gone.
func TestAWorkerReportsWhatItsHooksRefuse(t *testing.T) {
	const refused = "WARNING:  invalid value for parameter \"x.i\": 3\nDETAIL:  It is odd.\nCONTEXT:  line 1 of configuration file \"pgexthost.conf\"\n"
	for name, load := range map[string]func(string, func(*plugins.Init) error) (*plugins.Process, error){
		"preload child": plugins.LoadPreloading, "worker": plugins.Load,
	} {
		process, err := load("x.i = 3", evenOnly)
		if err != nil || process.Log() != refused || process.Show("x.i") != "2" {
			t.Errorf("%s: got %q, %v, %s", name, process.Log(), err, process.Show("x.i"))
		}
	}
	if process, err := plugins.Load("x.i = 102", evenOnly); err != nil || process.Log() != "" {
		t.Errorf("a worker repeats what the preload child says: %q, %v", process.Log(), err)
	}
}

func TestALibraryThatRefusesItsOwnDefaultDoesNotLoad(t *testing.T) {
	_, err := plugins.Load("", func(p *plugins.Init) error {
		p.DefineCustomString(plugins.StringVariable{Name: "x.s", Check: func(string) error { return errors.New("Never.") }})
		return nil
	})
	const want = `could not initialize library "example": invalid definition of parameter "x.s": ` +
		`The default is refused: invalid value for parameter "x.s": "": Never.`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestAPanicOfAHookIsOneOfInit(t *testing.T) {
	_, err := plugins.Load("", func(p *plugins.Init) error {
		p.DefineCustomBool(plugins.BoolVariable{Name: "x.b", Assign: func(bool) { panic("ouch") }})
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), `library "example" panicked in its Init: ouch`) {
		t.Errorf("got %v", err)
	}
}

func TestAHookThatDefinesASettingPanics(t *testing.T) {
	_, err := plugins.Load("", func(p *plugins.Init) error {
		p.DefineCustomBool(plugins.BoolVariable{Name: "x.b", Assign: func(bool) { p.DefineCustomBool(plugins.BoolVariable{Name: "x.c"}) }})
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "a hook of a setting must not change settings") {
		t.Errorf("got %v", err)
	}
}

func TestDurationsLongerThanGoHasAreItsLongest(t *testing.T) {
	var get func() time.Duration
	_, err := plugins.Load("x.d = 2147483647", func(p *plugins.Init) error {
		get = p.DefineCustomDuration(plugins.DurationVariable{Name: "x.d", Unit: time.Minute})
		return nil
	})
	if err != nil || get() != 1<<63-1 {
		t.Errorf("got %v, %v", get(), err)
	}
}

func TestDurationsAreMultiplesOfTheirUnit(t *testing.T) {
	for what, v := range map[string]plugins.DurationVariable{
		"default": {Default: 1500 * time.Millisecond},
		"minimum": {Min: time.Millisecond},
		"maximum": {Max: time.Minute + 1},
	} {
		v.Name, v.Unit = "x.d", time.Second
		_, err := plugins.Load("", func(p *plugins.Init) error {
			p.DefineCustomDuration(v)
			return nil
		})
		if elog.CodeOf(err) != elog.InvalidParameterValue || !strings.Contains(err.Error(), "The "+what+", ") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// PostgreSQL defines custom settings whenever it is asked to. Here the
// postmaster learns of them from Init, and of a later one it never would.
func TestASettingCannotBeDefinedOnceInitHasReturned(t *testing.T) {
	var kept *plugins.Init
	process, err := plugins.Load("", func(p *plugins.Init) error {
		kept = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if got := recover(); got != "plugins: setting x.late defined after Init has returned" {
			t.Errorf("got the panic %v", got)
		}
		if got := process.Show("x.late"); !strings.Contains(got, "unrecognized configuration parameter") {
			t.Errorf("the setting is %s", got)
		}
	}()
	kept.DefineCustomBool(plugins.BoolVariable{Name: "x.late"})
}
