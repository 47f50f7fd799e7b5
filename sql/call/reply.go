package call

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// verb does what a function asks for. It returns when ctx ends: then nobody is
// interested in what it returns. It runs in a goroutine of its own.
type verb func(ctx context.Context, s *Session, argument string) (reply, error)

// verbsOf returns what the functions of schema pgexthost ask for.
func verbsOf(host Host) map[string]verb {
	watch := &observer{host: host, seen: make(map[string]bool)}
	signals := signaller{host: host, kill: unix.Kill}
	return map[string]verb{
		"register":    registrar{host}.register,
		"activity":    watch.activity,
		"wait_events": watch.waitEvents,
		"worker":      watch.worker,
		"signal":      signals.signal,
		"reload":      signals.reload,
		"alter":       alterer{host}.alter,
	}
}

// reply is what a verb returns: a text or NULL. The zero value is the empty text.
type reply struct {
	status byte // 0: statusText
	text   string
}

// null is the reply NULL.
var null = reply{status: statusNull}

// answer does what is asked for. An error is a reply like any other.
func (s *Server) answer(ctx context.Context, session *Session, r request) reply {
	do := s.verbs[r.verb]
	if do == nil {
		return errorReply(elog.New(elog.Error, elog.UndefinedFunction, "the host does not know the call \"%s\"", r.verb).
			WithHint("Schema pgexthost is that of another version: run \"pgexthost extension upgrade pgexthost\", or upgrade the host."))
	}
	answer, err := do(ctx, session, r.argument)
	if err != nil {
		return errorReply(err)
	}
	if answer.status == 0 {
		answer.status = statusText
	}
	return answer
}

// errorReply turns an error into what pgexthost.fail raises.
func errorReply(err error) reply {
	e := connect.AsErrorData(err, elog.Error)
	code := string(e.Code)
	if len(code) != 5 || code == string(elog.SuccessfulCompletion) {
		code = string(elog.InternalError)
	}
	text, err := json.Marshal(struct {
		SQLState string `json:"sqlstate"`
		Message  string `json:"message"`
		Detail   string `json:"detail,omitempty"`
		Hint     string `json:"hint,omitempty"`
	}{code, printable(e.Message), printable(e.Detail), printable(e.Hint)})
	if err != nil {
		panic(err) // of strings, that cannot be
	}
	return reply{status: statusError, text: string(text)}
}

// printable drops what the server takes in no text.
func printable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "")
}

// placeOf reads the place that the next piece is to begin at.
func (r *reply) placeOf(argument string) (int, bool) {
	place, err := strconv.Atoi(argument)
	return place, err == nil && place >= 0 && place <= len(r.text)
}

// piece returns at most so many bytes of the reply, from a place on.
func (r *reply) piece(place, most int) piece {
	end := min(place+most, len(r.text))
	return piece{status: r.status, more: end < len(r.text), place: place, text: r.text[place:end]}
}

// inASCII replaces what a database with another encoding than UTF8 may not be able
// to hold.
func inASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, s)
}
