package guc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// hooked is a definition whose hooks write down what they are called for. Its
// check hook refuses 13.
func hooked(context guc.Context, calls *[]string) guc.Definition {
	note := func(hook string, v guc.Value) { *calls = append(*calls, hook+" "+v.String()) }
	return guc.Definition{
		Name: "lib.n", Type: guc.TypeInt, Context: context, Max: 99, Default: "1",
		CheckHook: func(v guc.Value) error {
			note("check", v)
			return notThirteen(v)
		},
		AssignHook: func(v guc.Value) { note("assign", v) },
		ShowHook:   func(v guc.Value) string { return fmt.Sprintf("<%d>", v.Int()) },
	}
}

// notThirteen is a check hook.
func notThirteen(v guc.Value) error {
	if v.Int() == 13 {
		return errors.New("It is unlucky.")
	}
	return nil
}

// wantCalls checks what hooks were called for since the last time.
func wantCalls(t *testing.T, calls *[]string, want ...string) {
	t.Helper()
	if !slices.Equal(*calls, want) {
		t.Errorf("got the calls %q, want %q", *calls, want)
	}
	*calls = nil
}

func TestTheAssignHookIsToldEachValueThatComesIntoForce(t *testing.T) {
	var calls []string
	s := started(t, "lib.n = 2")
	mustDefine(t, s, hooked(guc.Sighup, &calls))
	wantCalls(t, &calls, "check 1", "assign 1", "check 2", "assign 2")
	for _, step := range []struct {
		text string
		want []string
	}{
		{"lib.n = 3", []string{"check 3", "assign 3"}},
		{"lib.n = 3", []string{"check 3", "assign 3"}}, // again, as in PostgreSQL
		{"lib.n = 13", []string{"check 13"}},
		{"lib.n = 100", nil},
		{"lib.n = '\xff'", nil},
		{"?", nil},
		{"", []string{"check 1", "assign 1"}},
		{"", nil},
	} {
		s.ApplyReload(conf(step.text))
		wantCalls(t, &calls, step.want...)
	}
	if err := s.Override("lib.n", "5"); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, &calls, "check 5", "assign 5")
	s.ApplyReload(conf("lib.n = 6")) // checked, but not in force
	wantCalls(t, &calls, "check 6")
}

func TestHooksOfTheHostsOwnSettingsSeeTheDefaultFirst(t *testing.T) {
	var calls []string
	s := guc.NewStore(hooked(guc.Sighup, &calls))
	wantCalls(t, &calls, "check 1", "assign 1")
	wantReports(t, s.ApplyStartup(conf("lib.n = 2")))
	wantCalls(t, &calls, "check 2", "assign 2")
}

func TestTheAssignHookIsNotToldWhatDoesNotComeIntoForce(t *testing.T) {
	var calls []string
	fixed := started(t, "")
	mustDefine(t, fixed, hooked(guc.Postmaster, &calls))
	calls = nil
	fixed.ApplyReload(conf("lib.n = 2"))
	wantCalls(t, &calls, "check 2")

	child, _ := guc.NewChildStore(nil, hostDefs()...)
	mustDefine(t, child, hooked(guc.Backend, &calls))
	calls = nil
	child.ApplyReload(conf("lib.n = 2"))
	wantCalls(t, &calls, "check 2")

	_ = hooked(guc.Sighup, &calls).Check()
	wantCalls(t, &calls, "check 1")
}

func TestTheAssignHookRunsBeforeReadersSeeTheValue(t *testing.T) {
	var seen int
	s := started(t, "")
	mustDefine(t, s, guc.Definition{Name: "lib.n", Type: guc.TypeInt, Context: guc.Sighup, Max: 9, AssignHook: func(guc.Value) {
		if _, ok := s.Lookup("lib.n"); ok {
			seen = s.Int("lib.n")
		}
	}, Default: "1"})
	s.ApplyReload(conf("lib.n = 2"))
	if seen != 1 || s.Int("lib.n") != 2 {
		t.Errorf("the hook saw %d, then the value was %d", seen, s.Int("lib.n"))
	}
}

func TestTheShowHookMakesWhatShowPrints(t *testing.T) {
	var calls []string
	s := started(t, "lib.n = 7")
	mustDefine(t, s, hooked(guc.Sighup, &calls))
	wantShow(t, s, "lib.n", "<7>")
	set, _ := s.Lookup("lib.n")
	if set.Show() != "<7>" || set.Value.String() != "7" {
		t.Errorf("got %s and %s", set.Show(), set.Value)
	}
	if items := s.Items(); len(items) != 1 || items[0].Value != "7" {
		t.Errorf("children would get %+v", items)
	}
}

func TestADefaultThatTheHookHasComeToRefuseIsNoReset(t *testing.T) {
	refuse := false
	s := started(t, "lib.n = 2")
	mustDefine(t, s, guc.Definition{Name: "lib.n", Type: guc.TypeInt, Context: guc.Sighup, Max: 9, Default: "1", CheckHook: func(v guc.Value) error {
		if refuse && v.Int() == 1 {
			return elog.New(elog.Error, elog.ConfigurationLimitExceeded, "one is taken")
		}
		return nil
	}})
	refuse = true
	wantReports(t, s.ApplyReload(conf("")), `LOG 53400: one is taken`)
	wantShow(t, s, "lib.n", "2")
	refuse = false
	wantReports(t, s.ApplyReload(conf("")), `LOG 00000: parameter "lib.n" removed from configuration file, reset to default`)
	wantShow(t, s, "lib.n", "1")
}

// The postmaster has no hooks of libraries, so nobody but the child can tell.
func TestAChildReportsAtLogWhatOnlyItCanKnow(t *testing.T) {
	var calls []string
	child, _ := guc.NewChildStore(nil, append(hostDefs(), guc.Definition{
		Name: "own", Type: guc.TypeString, Context: guc.Sighup, CheckHook: func(v guc.Value) error {
			if v.String() != "" {
				return errors.New("No.")
			}
			return nil
		},
	})...)
	mustDefine(t, child, hooked(guc.Sighup, &calls))
	child.EndStartup()
	mustDefine(t, child, guc.Definition{Name: "late.n", Type: guc.TypeInt, Context: guc.Sighup, Max: 9, Default: "0"})
	child.MarkPrefixReserved("late")
	const summary = `DEBUG2 F0000: configuration file "h.conf" contains errors; unaffected changes were applied`
	for text, want := range map[string]string{
		"lib.n = 13":    `LOG 22023: invalid value for parameter "lib.n": 13 | DETAIL: It is unlucky. | CONTEXT: line 1 of configuration file "h.conf"`,
		"lib.n = 100":   `DEBUG2 22023: 100 is outside the valid range for parameter "lib.n" (0 .. 99) | CONTEXT: line 1 of configuration file "h.conf"`,
		"own = x":       `DEBUG2 22023: invalid value for parameter "own": "x" | DETAIL: No. | CONTEXT: line 1 of configuration file "h.conf"`,
		"\nlate.n = 10": `LOG 22023: 10 is outside the valid range for parameter "late.n" (0 .. 9) | CONTEXT: line 2 of configuration file "h.conf"`,
		"late.m = 1":    `LOG 42602: invalid configuration parameter name "late.m" | DETAIL: "late" is a reserved prefix. | HINT: Perhaps you meant "late.n". | CONTEXT: line 1 of configuration file "h.conf"`,
	} {
		wantReports(t, child.ApplyReload(conf(text)), want, summary)
	}
	wantShow(t, child, "lib.n", "<1>")
}

func TestSecretsThatAHookRefusesAreNotLogged(t *testing.T) {
	def := guc.Definition{Name: "x", Type: guc.TypeString, Flags: guc.FlagSecret, CheckHook: func(guc.Value) error { return errors.New("No.") }}
	_, err := guc.Parse(def, "password=secret")
	wantError(t, err, `ERROR 22023: invalid value for parameter "x" | DETAIL: No.`)
}

func TestOnlyRefusalsOfHooksAreTakenForThem(t *testing.T) {
	def := guc.Definition{Name: "x", Type: guc.TypeInt, Max: 1, CheckHook: func(guc.Value) error { return errors.New("No.") }}
	for text, want := range map[string]bool{"1": true, "2": false, "x": false} {
		_, err := guc.Parse(def, text)
		if guc.IsHookRefusal(err) != want {
			t.Errorf("%s: got %v for %v", text, !want, err)
		}
	}
}

// panicsWith runs f and checks that it panics.
func panicsWith(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}()
	f()
}

func TestAPanicOfAHookLeavesTheStoreAsItWas(t *testing.T) {
	for name, hook := range map[string]func(*guc.Definition, func(guc.Value)){
		"check": func(d *guc.Definition, f func(guc.Value)) {
			d.CheckHook = func(v guc.Value) error { f(v); return nil }
		},
		"assign": func(d *guc.Definition, f func(guc.Value)) { d.AssignHook = f },
	} {
		t.Run(name, func(t *testing.T) {
			s := started(t, "lib.n = 13\nlib.m = 1")
			def := guc.Definition{Name: "lib.n", Type: guc.TypeInt, Context: guc.Sighup, Max: 99, Default: "1"}
			hook(&def, func(v guc.Value) {
				if v.Int() == 13 {
					panic("ouch")
				}
			})
			panicsWith(t, "ouch", func() { _, _ = s.Define(def) })
			if set, _ := s.Lookup("lib.n"); !set.Placeholder || set.Value.String() != "13" {
				t.Errorf("after a panic in Define: %+v", set)
			}
			wantReports(t, s.ApplyReload(conf("lib.n = 2\nlib.m = 1")), `LOG 00000: parameter "lib.n" changed to "2"`)
			mustDefine(t, s, def)
			panicsWith(t, "ouch", func() { s.ApplyReload(conf("lib.m = 2\nlib.n = 13\nlib.k = 1")) })
			wantShow(t, s, "lib.n", "2")
			wantShow(t, s, "lib.m", "2") // what came before it was applied
			wantReports(t, s.ApplyReload(conf("lib.m = 2\nlib.n = 3")), `LOG 00000: parameter "lib.n" changed to "3"`)
		})
	}
}

func TestAHookThatChangesSettingsPanicsInsteadOfWaitingForItself(t *testing.T) {
	s := started(t, "")
	for name, write := range map[string]func(){
		"Define":             func() { _, _ = s.Define(naptime()) },
		"MarkPrefixReserved": func() { s.MarkPrefixReserved("x") },
		"Override":           func() { _ = s.Override("crash_scope", "auto") },
		"ApplyReload":        func() { s.ApplyReload(conf("")) },
		"ApplyStartup":       func() { s.ApplyStartup(conf("")) },
		"EndStartup":         func() { s.EndStartup() },
	} {
		t.Run(name, func(t *testing.T) {
			panicsWith(t, "a hook of a setting must not change settings", func() {
				_, _ = s.Define(guc.Definition{Name: "lib.x", Type: guc.TypeString, AssignHook: func(guc.Value) { write() }})
			})
		})
	}
}

func TestOtherWritersWaitForAHookAndReadersDoNot(t *testing.T) {
	s := started(t, "")
	inHook, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Define(guc.Definition{Name: "lib.x", Type: guc.TypeString, AssignHook: func(guc.Value) { close(inHook); <-goOn }})
	}()
	<-inHook
	wrote := make(chan error)
	go func() { wrote <- s.Override("crash_scope", "worker") }()
	if got := s.Enum("crash_scope"); got != "auto" { // readers don't wait
		t.Errorf("got %s", got)
	}
	close(goOn)
	<-done
	if err := <-wrote; err != nil || s.Enum("crash_scope") != "worker" {
		t.Errorf("got %v, %s", err, s.Enum("crash_scope"))
	}
}
