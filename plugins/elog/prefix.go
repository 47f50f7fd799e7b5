package elog

import (
	"strconv"
	"time"
)

const (
	timestampMillis  = "2006-01-02 15:04:05.000 MST"
	timestampSeconds = "2006-01-02 15:04:05 MST"
)

// appendPrefix expands the escapes of log_line_prefix, each with an optional
// padding ("%5p", "%-10b"), as a process of PostgreSQL without a client session
// does. Unknown escapes are dropped. line is the number of the line. Mirrors
// log_line_prefix of elog.c, as of PostgreSQL 18.
func (r *record) appendPrefix(b []byte, line uint64) []byte {
	for format := r.prefix; format != ""; {
		c := format[0]
		format = format[1:]
		if c != '%' {
			b = append(b, c)
			continue
		}
		if format != "" && format[0] == '%' { // only if nothing stands in between
			b = append(b, '%')
			format = format[1:]
			continue
		}
		width, digits := parsePadding(format)
		format = format[digits:]
		if format == "" || format[0] == 'q' {
			break // cut off, or where processes without a client session stop
		}
		start := len(b)
		var known bool
		if b, known = r.appendEscape(b, format[0], line); known {
			b = pad(b, start, width)
		}
		format = format[1:]
	}
	return b
}

// maxPadding bounds what a typing error can do to the log.
const maxPadding = 1024

// parsePadding reads a padding such as "5" (fill on the left) or "-5" (fill on
// the right) at the start of format, and returns its length, too. Mirrors
// process_log_prefix_padding.
func parsePadding(format string) (width, length int) {
	sign := 1
	if length < len(format) && format[length] == '-' {
		sign = -1
		length++
	}
	for ; length < len(format) && format[length] >= '0' && format[length] <= '9'; length++ {
		width = min(width*10+int(format[length]-'0'), maxPadding)
	}
	return sign * width, length
}

// pad fills what b has from start on up to width bytes.
func pad(b []byte, start, width int) []byte {
	missing := max(width, -width) - (len(b) - start)
	for range missing {
		b = append(b, ' ')
	}
	if width > 0 && missing > 0 {
		copy(b[start+missing:], b[start:])
		for i := range missing {
			b[start+i] = ' '
		}
	}
	return b
}

// appendEscape appends what %c stands for, and reports whether there is such an
// escape.
func (r *record) appendEscape(b []byte, c byte, line uint64) ([]byte, bool) {
	switch c {
	case 'a':
		b = append(b, r.application...)
	case 'b':
		b = append(b, r.backendType...)
	case 'p':
		b = strconv.AppendInt(b, int64(r.process.pid), 10)
	case 'P':
		if r.leader != 0 {
			b = strconv.AppendInt(b, int64(r.leader), 10)
		}
	case 'm':
		b = r.now.AppendFormat(b, timestampMillis)
	case 't':
		b = r.now.AppendFormat(b, timestampSeconds)
	case 'n':
		b = appendEpoch(b, r.now)
	case 's':
		b = append(b, r.process.sessionStart...)
	case 'c':
		b = append(b, r.process.sessionID...)
	case 'l':
		b = strconv.AppendUint(b, line, 10)
	case 'e':
		b = append(b, r.report.codeOrDefault()...)
	case 'x', 'Q': // transaction and query identifiers of the server
		b = append(b, '0')
	case 'L':
		b = append(b, "[none]"...)
	case 'u', 'd', 'r', 'h', 'i', 'v': // only a client session has them
	default:
		return b, false
	}
	return b, true
}

// appendEpoch appends the seconds since 1970, with milliseconds.
func appendEpoch(b []byte, t time.Time) []byte {
	b = strconv.AppendInt(b, t.Unix(), 10)
	const three = 1000 // digits, by a leading one that is overwritten
	point := len(b)
	b = strconv.AppendInt(b, three+t.UnixMilli()%three, 10)
	b[point] = '.'
	return b
}
