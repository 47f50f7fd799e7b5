package host

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Inspection is what the configuration of a data directory amounts to.
type Inspection struct {
	Settings []Setting // in the order of their names
	// ServerConninfo is what Settings hides. Whether it is of any use, connect.ParseConninfo
	// can tell: a host leaves that to its server monitor.
	ServerConninfo string
	// Problems are what a host would log about the configuration at its start,
	// and no more than that: at ERROR if the start would fail.
	Problems []*elog.ErrorData
}

// Inspect reads the configuration as a host would that is started now, and runs
// the Init of each library of shared_preload_libraries in a process of its own,
// as a host does. Nothing is changed in the data directory, and a host may be
// running in it. The error, an *elog.ErrorData, says that it is no data
// directory, or that ctx has ended.
//
// The program that calls it must be able to be a host: see [Run].
func Inspect(ctx context.Context, opts Options) (*Inspection, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	h := newHost(ctx, opts, elog.NewLogger(io.Discard))
	defer h.tearDown()
	var err error
	if h.dir, err = openDataDir(opts.DataDir); err != nil {
		return nil, err
	}
	i := &Inspection{}
	if err := i.readSettings(h); err != nil {
		return nil, err
	}
	if err := i.preload(h); err != nil {
		return nil, err
	}
	i.checkLimits(h)
	i.Settings, i.ServerConninfo = describe(h.store), h.store.String(settings.ServerConninfo)
	return i, nil
}

// readSettings applies what the files and the command line say.
func (i *Inspection) readSettings(h *host) error {
	reports, err := h.applyFiles()
	if err != nil {
		return err
	}
	for _, report := range reports {
		switch report.Code {
		case elog.ConfigFileError: // sums up the others
		case elog.SuccessfulCompletion:
			i.Problems = append(i.Problems, elog.AsErrorData(report, elog.Log))
		default:
			i.Problems = append(i.Problems, elog.AsErrorData(report, elog.Error))
		}
	}
	if err := h.splitPreload(); err != nil {
		i.Problems = append(i.Problems, elog.AsErrorData(err, elog.Warning)) // a host would go on without any
	}
	return nil
}

// checkLimits tells which libraries have limits and do not exist: a name that is
// misspelt limits nobody.
func (i *Inspection) checkLimits(h *host) {
	table, err := limits.Parse(h.store.String(settings.LibraryLimits))
	if err != nil {
		return // can't be: the setting has been checked
	}
	find := newResolver()
	for _, l := range table {
		if l.Library == limits.Others || slices.Contains(plugins.Libraries(), l.Library) {
			continue // "$libdir/NAME" finds those, wherever others are looked for
		}
		if found := find.resolve(*h.request(l.Library)); found.Error != nil && found.Error.Code == elog.UndefinedFile {
			i.Problems = append(i.Problems, elog.New(elog.Warning, elog.UndefinedFile, "library \"%s\" of \"%s\" was not found", l.Library, settings.LibraryLimits).
				WithHint("%s", found.Error.Hint))
		}
	}
}

// preload has the libraries define their settings.
func (i *Inspection) preload(h *host) error {
	if len(h.preload) == 0 {
		return nil
	}
	if err := h.makeSharedMemory(); err != nil {
		return err
	}
	for _, name := range h.preload {
		result, err := h.preloadLibrary(name, "config check", true)
		if result != nil {
			i.Problems = append(i.Problems, result.Reports...)
		}
		var out leftOut
		switch {
		case h.ctx.Err() != nil:
			return err
		case errors.As(err, &out):
			i.Problems = append(i.Problems, out.notPreloaded(name))
		case err != nil:
			i.Problems = append(i.Problems, elog.AsErrorData(err, elog.Error))
			return nil // a start ends here
		}
	}
	return nil
}
