package elog

import (
	"strconv"
	"unicode/utf8"
)

// appendJSON renders a record as the destination jsonlog does: an object on a
// line of its own, with PostgreSQL's keys in its order. Those of a client
// session (user, dbname, remote_host, ps, vxid) are left out, as they are for
// PostgreSQL's processes that have none; without a transaction and a query of
// the server's own, txid and query_id are 0 there and here. line numbers the
// records. Mirrors write_jsonlog.
func (r *record) appendJSON(b []byte, line uint64) []byte {
	e := r.report
	b = append(b, `{"timestamp":"`...)
	b = r.now.AppendFormat(b, timestampMillis)
	b = append(b, '"')
	b = appendNumber(b, "pid", uint64(r.process.pid))
	b = appendString(b, "session_id", r.process.sessionID)
	b = appendNumber(b, "line_num", line)
	b = appendString(b, "session_start", r.process.sessionStart)
	b = appendNumber(b, "txid", 0)
	b = appendString(b, "error_severity", e.Level.severity())
	if code := e.codeOrDefault(); code != SuccessfulCompletion {
		b = appendString(b, "state_code", string(code))
	}
	b = appendString(b, "message", e.Message)
	b = appendIfAny(b, "detail", e.Detail)
	b = appendIfAny(b, "hint", e.Hint)
	b = appendIfAny(b, "context", e.Context)
	b = appendIfAny(b, "statement", r.statement())
	b = appendIfAny(b, "application_name", r.application)
	b = appendString(b, "backend_type", r.backendType)
	if r.leader != 0 {
		b = appendNumber(b, "leader_pid", uint64(r.leader))
	}
	b = appendNumber(b, "query_id", 0)
	return append(b, '}', '\n')
}

func appendNumber(b []byte, key string, n uint64) []byte {
	return strconv.AppendUint(appendKey(b, key), n, 10)
}

func appendString(b []byte, key, value string) []byte {
	return appendEscaped(appendKey(b, key), value)
}

func appendIfAny(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(b, key, value)
}

func appendKey(b []byte, key string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

// appendEscaped appends text as a JSON string with the escapes of PostgreSQL's
// escape_json. Bytes that are no UTF-8 become U+FFFD: nobody could decode the
// line otherwise.
func appendEscaped(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
		switch c {
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			if c < ' ' {
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
			} else {
				b = append(b, c)
			}
		}
	}
	return append(b, '"')
}
