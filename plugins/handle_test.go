package plugins_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// A handle is text for other processes of the same host.
func ExampleParseHandle() {
	h, err := plugins.ParseHandle("5c1f09d2a7e34b86.3.17")
	if err != nil {
		panic(err)
	}
	message, err := json.Marshal(map[string]plugins.Handle{"worker": h})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(message))
	// Output: {"worker":"5c1f09d2a7e34b86.3.17"}
}

func TestAHandleIsItsText(t *testing.T) {
	for _, text := range []string{
		"0000000000000000.0.0", "5c1f09d2a7e34b86.3.17", "ffffffffffffffff.262142.18446744073709551615",
	} {
		h, err := plugins.ParseHandle(text)
		if err != nil || h.String() != text {
			t.Errorf("%s: got %v, %v", text, h, err)
		}
		encoded, err := json.Marshal(map[plugins.Handle]plugins.Handle{h: h})
		if err != nil {
			t.Fatal(err)
		}
		var decoded map[plugins.Handle]plugins.Handle
		if err := json.Unmarshal(encoded, &decoded); err != nil || decoded[h] != h {
			t.Errorf("%s became %v, %v", encoded, decoded, err)
		}
	}
	var zero plugins.Handle
	if h, err := plugins.ParseHandle(zero.String()); err != nil || h != zero {
		t.Errorf("got %v, %v", h, err)
	}
}

func TestTextsThatAreNoHandles(t *testing.T) {
	for _, text := range []string{
		"", ".", "..", "5c1f09d2a7e34b86", "5c1f09d2a7e34b86.3", "5c1f09d2a7e34b86.3.17.1", "5c1f09d2a7e34b86.3.17 ",
		"5C1F09D2A7E34B86.3.17", "5c1f09d2a7e34b8.3.17", "05c1f09d2a7e34b86.3.17", "0x5c1f09d2a7e34b.3.17",
		"5c1f09d2a7e34b86.03.17", "5c1f09d2a7e34b86.+3.17", "5c1f09d2a7e34b86.-3.17", "5c1f09d2a7e34b86.3.0x11",
		"5c1f09d2a7e34b86.262143.17", "5c1f09d2a7e34b86.4294967299.17", "5c1f09d2a7e34b86.3.18446744073709551616",
	} {
		_, err := plugins.ParseHandle(text)
		var report *elog.ErrorData
		if !errors.As(err, &report) || report.Code != "22P02" || report.Message != `invalid input syntax for background worker handle: "`+text+`"` {
			t.Errorf("%q: got %v", text, err)
		}
		kept := plugins.Handle{}
		if err := json.Unmarshal(fmt.Appendf(nil, "%q", text), &kept); err == nil || kept != (plugins.Handle{}) {
			t.Errorf("%q as JSON: got %v, %v", text, kept, err)
		}
	}
}

func FuzzParseHandle(f *testing.F) {
	f.Add("5c1f09d2a7e34b86.3.17")
	f.Add("ffffffffffffffff.262142.18446744073709551615")
	f.Add("5c1f09d2a7e34b86..")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := plugins.ParseHandle(text); err == nil && h.String() != text {
			t.Errorf("%q became %s", text, h)
		}
	})
}
