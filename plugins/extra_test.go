package plugins_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// A launcher tells each of its workers which table is its own.
func ExampleTextExtra() {
	extra, err := plugins.TextExtra("public.events")
	if err != nil {
		panic(err) // too long
	}
	registered := plugins.BackgroundWorker{
		Name: "retention of public.events", Flags: plugins.ShmemAccess, RestartTime: 60,
		LibraryName: "retention", FunctionName: "retention_main", Extra: extra,
	}
	// In the worker: plugins.ExtraText(w.Entry())
	fmt.Println(plugins.ExtraText(registered))
	// Output: public.events
}

func TestATextComesOutOfExtraAsItWentIn(t *testing.T) {
	for _, text := range []string{"", "a", "naïve", strings.Repeat("x", plugins.BGWExtraLen-1), strings.Repeat("x", plugins.BGWExtraLen)} {
		extra, err := plugins.TextExtra(text)
		w := plugins.BackgroundWorker{Extra: extra}
		if got := plugins.ExtraText(w); err != nil || got != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

func TestATextThatDoesNotFitExtraIsRefused(t *testing.T) {
	for text, message := range map[string]string{
		strings.Repeat("x", plugins.BGWExtraLen+1): "extra data are longer than 128 bytes",
		"a\x00b": "extra data contain a NUL byte",
		"a\x00":  "extra data contain a NUL byte",
	} {
		extra, err := plugins.TextExtra(text)
		var report *elog.ErrorData
		if !errors.As(err, &report) || report.Code != elog.InvalidParameterValue || report.Message != message || extra != [plugins.BGWExtraLen]byte{} {
			t.Errorf("%q: got %v, %q", text, err, extra)
		}
	}
}
