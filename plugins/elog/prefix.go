package elog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// linePrefix is everything a log_line_prefix can show.
type linePrefix struct {
	format       string
	now, started time.Time
	pid          int
	line         uint64
	application  string
	backendType  string
	code         SQLState
}

const (
	timestampMillis  = "2006-01-02 15:04:05.000 MST"
	timestampSeconds = "2006-01-02 15:04:05 MST"
)

// render expands the escapes, each with an optional padding ("%5p", "%-10b").
// As in PostgreSQL, unknown escapes are dropped, and so are those that only a
// client session has (user, database, remote host).
func (p linePrefix) render() string {
	var b strings.Builder
	for i := 0; i < len(p.format); i++ {
		if p.format[i] != '%' {
			b.WriteByte(p.format[i])
			continue
		}
		start := i + 1
		end := start
		if end < len(p.format) && p.format[end] == '-' {
			end++
		}
		for end < len(p.format) && p.format[end] >= '0' && p.format[end] <= '9' {
			end++
		}
		if end == len(p.format) {
			break // a lone % at the end
		}
		i = end
		if p.format[end] == '%' {
			b.WriteByte('%')
			continue
		}
		if p.format[end] == 'q' {
			break // background processes stop here, as in PostgreSQL
		}
		b.WriteString(pad(p.escape(p.format[end]), p.format[start:end]))
	}
	return b.String()
}

func (p linePrefix) escape(c byte) string {
	switch c {
	case 'a':
		return p.application
	case 'b':
		return p.backendType
	case 'p':
		return strconv.Itoa(p.pid)
	case 'm':
		return p.now.Format(timestampMillis)
	case 't':
		return p.now.Format(timestampSeconds)
	case 'n':
		return fmt.Sprintf("%d.%03d", p.now.Unix(), p.now.Nanosecond()/int(time.Millisecond))
	case 's':
		return p.started.Format(timestampSeconds)
	case 'c':
		return fmt.Sprintf("%x.%x", p.started.Unix(), p.pid)
	case 'l':
		return strconv.FormatUint(p.line, 10)
	case 'e':
		return string(p.code)
	}
	return ""
}

// pad applies a padding such as "5" (to the left) or "-5" (to the right).
func pad(s, padding string) string {
	width, err := strconv.Atoi(padding)
	if err != nil || width < -1024 || width > 1024 {
		return s
	}
	return fmt.Sprintf("%*s", width, s)
}
