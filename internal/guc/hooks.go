package guc

import (
	"errors"
	"runtime"
	"strconv"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// hookRefusal marks a report as the work of a check hook, which other processes
// may not have.
type hookRefusal struct{ err error }

func (r *hookRefusal) Error() string { return r.err.Error() }
func (r *hookRefusal) Unwrap() error { return r.err }

// IsHookRefusal reports whether a report says that a check hook refused a
// value. In a host only the processes that have loaded a library have its
// hooks, so nobody else can tell.
func IsHookRefusal(report error) bool {
	var refusal *hookRefusal
	return errors.As(report, &refusal)
}

// check asks the check hook. Mirrors call_int_check_hook and its siblings.
func (d *Definition) check(value Value) *elog.ErrorData {
	if d.CheckHook == nil {
		return nil
	}
	var err error
	runHook(func() { err = d.CheckHook(value) })
	if err != nil {
		return d.refusedByHook(value, err)
	}
	return nil
}

// assign tells the assign hook about a value that is about to be in force.
func (d *Definition) assign(value Value) {
	if d.AssignHook != nil {
		runHook(func() { d.AssignHook(value) })
	}
}

// show returns the value as SHOW prints it. Mirrors ShowGUCOption.
func (d *Definition) show(value Value) (text string) {
	if d.ShowHook == nil {
		return value.Show()
	}
	runHook(func() { text = d.ShowHook(value) })
	return text
}

// runHook calls a hook. Its name on the stack tells lock that a hook is
// running. A panic goes through.
func runHook(hook func()) { hook() }

// lock keeps other writers out. A hook that wanted to write would wait for
// itself for ever; a panic says so instead.
func (s *Store) lock() {
	if s.writer.TryLock() {
		return
	}
	if calledByHook() {
		panic("guc: a hook of a setting must not change settings")
	}
	s.writer.Lock()
}

// calledByHook reports whether this goroutine is inside a hook. It takes
// microseconds, which only those spend who must wait anyway.
func calledByHook() bool {
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "/internal/guc.runHook") {
			return true
		}
		if !more {
			return false
		}
	}
}

// refusedByHook is the report about a value that the check hook refused. As in
// call_int_check_hook and its siblings, only texts are quoted.
func (d *Definition) refusedByHook(value Value, err error) *elog.ErrorData {
	shown := ": \"" + value.String() + "\""
	switch d.Type {
	case TypeBool, TypeInt:
		shown = ": " + strconv.FormatInt(value.num, 10)
	case TypeReal:
		shown = ": " + value.String()
	}
	if d.Flags&FlagSecret != 0 {
		shown = ""
	}
	e := elog.New(elog.Error, elog.InvalidParameterValue, "invalid value for parameter \"%s\"%s", d.Name, shown).
		WithCause(&hookRefusal{err})
	var own *elog.ErrorData
	if !errors.As(err, &own) || own == nil {
		e.Detail = err.Error()
		return e
	}
	if own.Code != "" {
		e.Code = own.Code
	}
	if own.Message != "" {
		e.Message = own.Message
	}
	e.Detail, e.Hint = own.Detail, own.Hint
	return e
}
