package plugins

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	// The program of a host starts those whose processes are limited. Here,
	// it is initialized before any library.
	_ "github.com/pgexthost/pgexthost/internal/trampoline"
)

// explainLimit adds to the report of an error which limit of the process it has
// met, if that is what it is about, and who has set that.
func explainLimit(report *elog.ErrorData, err error, library handshake.Library) {
	l := library.Limits
	if l == nil {
		l = &limits.Limits{}
	}
	detail, hint := "", ""
	var now unix.Rlimit
	switch {
	case errors.Is(err, unix.EMFILE) && unix.Getrlimit(unix.RLIMIT_NOFILE, &now) == nil:
		detail = fmt.Sprintf("This process may have %d files open at a time.", now.Cur)
		if uint64(l.Files) == now.Cur {
			hint = raise(limits.Files, library)
		}
	case errors.Is(err, unix.ENOMEM) && l.Memory > 0:
		detail = fmt.Sprintf("This process may use %s of memory.", limits.Size(l.Memory))
		hint = raise(limits.Memory, library)
	}
	if detail != "" && report.Detail != "" {
		detail += "\n" + report.Detail
	}
	if detail != "" {
		report.Detail = detail
	}
	if report.Hint == "" {
		report.Hint = hint
	}
}

// raise is the HINT for a limit of a library that its process has met.
func raise(limit string, library handshake.Library) string {
	return "If it needs more, raise \"" + limit + "\" of library \"" + library.Name + "\" in \"" + settings.LibraryLimits + "\"."
}
