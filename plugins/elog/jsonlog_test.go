package elog_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

func TestJSONRecordHasTheFieldsOfABackgroundProcessInOrder(t *testing.T) {
	l, buf := aLogger("not shown", elog.DestinationJSONLog)
	l.SetLeader(815)
	e := elog.New(elog.Error, elog.UndefinedObject, "no such thing").WithDetail("It is gone.").WithHint("Make one.")
	e.Context, e.Statement = "line 1", "SELECT 1"
	l.Emit(e)
	want := `{"timestamp":"2026-03-01 12:31:00.100 UTC","pid":4711,"session_id":"69a43183.1267","line_num":1,` +
		`"session_start":"2026-03-01 12:30:59 UTC","txid":0,"error_severity":"ERROR","state_code":"42704",` +
		`"message":"no such thing","detail":"It is gone.","hint":"Make one.","context":"line 1","statement":"SELECT 1",` +
		`"application_name":"app","backend_type":"client","leader_pid":815,"query_id":0}` + "\n"
	if buf.String() != want {
		t.Errorf("\n got %s\nwant %s", buf, want)
	}
}

func TestJSONRecordLeavesOutWhatIsNotKnown(t *testing.T) {
	l, buf := aLogger("", elog.DestinationJSONLog)
	l.Identify("", "postmaster")
	l.Logf(elog.Log, "") // an empty message is one; the code 00000 is none
	l.Logf(elog.Warning, "second")
	lines := decodeLines(t, buf.Bytes())
	for _, key := range []string{"state_code", "detail", "hint", "context", "statement", "application_name", "leader_pid"} {
		if _, ok := lines[0][key]; ok {
			t.Errorf("%s is there", key)
		}
	}
	if lines[0]["message"] != "" || lines[0]["line_num"] != 1.0 {
		t.Errorf("got %v", lines[0])
	}
	if lines[1]["state_code"] != "01000" || lines[1]["line_num"] != 2.0 {
		t.Errorf("got %v", lines[1])
	}
}

func TestEachFormCountsItsOwnLines(t *testing.T) {
	l, buf := aLogger("%l ", elog.DestinationStderr)
	e := elog.New(elog.Log, "", "x").WithDetail("D.")
	l.Emit(e)
	l.Configure("%l ", elog.Warning, elog.DestinationJSONLog|elog.DestinationStderr)
	l.Emit(e)
	_, second, _ := strings.Cut(buf.String(), "DETAIL:  D.\n")
	record, text, _ := strings.Cut(second, "\n")
	if line := decodeLines(t, []byte(record))[0]; line["line_num"] != 1.0 || text != "3 LOG:  x\n4 DETAIL:  D.\n" {
		t.Errorf("got %v, %q", line, text)
	}
}

func decodeLines(t testing.TB, log []byte) []map[string]any {
	t.Helper()
	var decoded []map[string]any
	for line := range bytes.Lines(log) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		decoded = append(decoded, fields)
	}
	return decoded
}

// TestJSONEscapesAsPostgresDoes compares with what escape_json makes of each
// character.
func TestJSONEscapesAsPostgresDoes(t *testing.T) {
	for text, want := range map[string]string{
		`a "b" \c`:     `a \"b\" \\c`,
		"\b\f\n\r\t":   `\b\f\n\r\t`,
		"\x00\x1b\x1f": `\u0000\u001b\u001f`,
		"/<&>'\x7f":    "/<&>'\x7f",
		"äß€😀":         "äß€😀",
		"\u2028\u0085": "\u2028\u0085",
		"a\xffb\xc3":   "a\ufffdb\ufffd",
		"\xed\xa0\x80": "\ufffd\ufffd\ufffd", // half a surrogate pair
		"\ufffd":       "\ufffd",
	} {
		l, buf := aLogger("", elog.DestinationJSONLog)
		l.Emit(&elog.ErrorData{Level: elog.Log, Message: text})
		if !strings.Contains(buf.String(), `,"message":"`+want+`",`) {
			t.Errorf("%q: got %s", text, buf)
		}
	}
}

func FuzzJSONRecordIsOneValidLine(f *testing.F) {
	f.Add("message", "detail\n", "\xff", "\"}\n{\"")
	f.Add("\x00", "\x7f\u2028", "\\u0000", "\\")
	f.Fuzz(func(t *testing.T, message, detail, application, backendType string) {
		l, buf := aLogger("", elog.DestinationJSONLog)
		l.Identify(application, backendType)
		l.Emit(&elog.ErrorData{Level: elog.Error, Code: elog.SQLState(message), Message: message, Detail: detail, Hint: detail})
		if bytes.Count(buf.Bytes(), []byte("\n")) != 1 || !utf8.Valid(buf.Bytes()) {
			t.Errorf("got %q", buf)
		}
		fields := decodeLines(t, buf.Bytes())[0]
		for key, want := range map[string]string{"message": message, "detail": detail, "application_name": application, "backend_type": backendType} {
			if got, _ := fields[key].(string); utf8.ValidString(want) && got != want {
				t.Errorf("%s: got %q, want %q", key, got, want)
			}
		}
	})
}
