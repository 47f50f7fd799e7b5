package host

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// LibraryCheck is what a host finds out about an executable library when it
// loads it.
type LibraryCheck struct {
	File string // its absolute path

	// What the file says without being run.
	Package, Module, Version string // of its main package
	Revision                 string // of its version control system, or empty
	Built                    string // against which version of this module
	GoVersion                string
	Protocol, ABI            int

	// What it says of itself, if it has answered.
	Name      string
	Functions []string
	Workers   []plugins.BackgroundWorker // that it registers, and a host accepts
	Settings  []Setting                  // that it defines
	Took      time.Duration              // from its start to the end of its Init

	Stdout, Stderr string // the first 64 KiB of what it has written there

	// Problems are why a host would not load it, at ERROR, and what the host would
	// complain about, or its author should, at WARNING.
	Problems []*elog.ErrorData
}

// Loadable reports whether a host would load the library.
func (c *LibraryCheck) Loadable() bool {
	return !slices.ContainsFunc(c.Problems, func(p *elog.ErrorData) bool { return p.Level >= elog.Error })
}

// slowStart is how long a library may take to start without a remark.
const slowStart = time.Second

// CheckLibrary loads a library as a host does that has it in
// shared_preload_libraries: it looks at the file, starts it, shakes hands and has
// it run its Init. No data directory is needed, and nothing stays. Settings are
// "name=value" each, as on a host's command line: library_init_timeout bounds the
// whole of it.
//
// What is wrong with the library is among the Problems of the result. The error, an
// *elog.ErrorData, says that a setting is wrong, that ctx has ended, or that this
// system could not do it.
//
// The program that calls it must be able to be a host: see [Run].
func CheckLibrary(ctx context.Context, file string, options []string) (*LibraryCheck, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fatal(elog.UndefinedFile, err, "could not determine the absolute path of file \"%s\": %v", file, err)
	}
	c := &LibraryCheck{File: abs}
	if !c.inspect() {
		return c, nil
	}
	temp, err := os.MkdirTemp("", "pgexthost-check-")
	if err != nil {
		return nil, fatal(elog.FileAccessCode(err), err, "could not create a temporary directory: %s", elog.OSReason(err))
	}
	defer func() { _ = os.RemoveAll(temp) }()
	h := newHost(ctx, Options{}, elog.NewLogger(io.Discard))
	defer h.tearDown()
	h.dir = &dataDir{path: temp}
	if err := h.useSettings(append(slices.Clone(options), settings.DynamicLibraryPath+"="+filepath.Dir(abs))); err != nil {
		return nil, err
	}
	if err := h.makeSharedMemory(); err != nil {
		return nil, err
	}
	if err := c.load(h); err != nil {
		return nil, err
	}
	c.remark()
	return c, nil
}

// useSettings makes the settings of a host without files.
func (h *host) useSettings(options []string) error {
	var conf guc.Config
	for _, option := range options {
		item, err := guc.ParseOption(option)
		if err != nil {
			return err
		}
		conf.Items = append(conf.Items, item)
	}
	h.store = guc.NewStore(settings.Definitions()...)
	for _, report := range h.store.ApplyStartup(conf) {
		if report.Level >= elog.Fatal {
			return report
		}
	}
	return nil
}

// inspect looks at the file, and reports whether there is more to find out.
func (c *LibraryCheck) inspect() bool {
	name := filepath.Base(c.File)
	if name == plugins.InternalLibrary {
		c.complain(elog.New(elog.Error, elog.InvalidName, "library name \"%s\" is reserved", name).
			WithDetail("It stands for the host's internal functions, whatever files there are.").WithHint("Call the file otherwise."))
		return false
	}
	p, err := library.Inspect(name, c.File)
	if err != nil {
		c.Problems = append(c.Problems, elog.AsErrorData(err, elog.Error))
		return false
	}
	c.Package, c.Module, c.Version, c.Revision, c.Built = p.Package, p.Module, p.Version, p.Revision, p.Built
	c.GoVersion, c.Protocol, c.ABI = p.GoVersion, p.Protocol, p.ABI
	return true
}

// load starts the library, and keeps what it says.
func (c *LibraryCheck) load(h *host) error {
	stdout, err := newCapture()
	if err != nil {
		return err
	}
	stderr, err := newCapture()
	if err != nil {
		return err
	}
	h.children.stdout, h.children.stderr = stdout.in, stderr.in
	name := filepath.Base(c.File)
	if strings.Contains(c.File, ":") || slices.Contains(plugins.Libraries(), name) {
		name = c.File // by its name it would not be found, or not this one
	}
	start := time.Now()
	result, err := h.preloadLibrary(name, "plugin check", true)
	c.Took = time.Since(start)
	patience := time.Now().Add(goneGrace)
	c.Stdout, c.Stderr = stdout.end(patience), stderr.end(patience)
	if result != nil {
		c.Name, c.Functions = result.Library, result.Functions
		for _, report := range result.Reports { // the refused registrations and values: LOG in a host's log
			c.Problems = append(c.Problems, elog.AsErrorData(report, elog.Warning))
		}
		c.Problems = slices.CompactFunc(c.Problems, func(a, b *elog.ErrorData) bool { return a.Message == b.Message && a.Detail == b.Detail })
	}
	switch {
	case h.ctx.Err() != nil:
		return elog.New(elog.Error, elog.QueryCanceled, "interrupted").WithCause(h.ctx.Err())
	case err != nil:
		c.Problems = append(c.Problems, elog.AsErrorData(err, elog.Error))
		return nil
	}
	c.Workers, _ = h.staticWorkers()
	for _, s := range describe(h.store) {
		if slices.ContainsFunc(result.Settings, func(d guc.Definition) bool { return strings.EqualFold(d.Name, s.Name) }) {
			c.Settings = append(c.Settings, s)
		}
	}
	return nil
}

// remark adds what its author should know of a library, though a host would load
// it.
func (c *LibraryCheck) remark() {
	file := filepath.Base(c.File)
	warning := func(code elog.SQLState, format string, args ...any) *elog.ErrorData {
		return elog.New(elog.Warning, code, format, args...)
	}
	if c.Stdout != "" {
		c.complain(warning(elog.WarningCode, "the library writes to its standard output").
			WithDetail("It begins with: %s", firstLine(c.Stdout)).
			WithHint("That ends up in the host's log, without a time or a level. Use Worker.Logf, or package log/slog."))
	}
	if !c.Loadable() {
		return
	}
	if c.Took > slowStart {
		c.complain(warning(elog.WarningCode, "the library takes %v to start", c.Took.Round(time.Millisecond)).
			WithDetail("Each of its workers does so.").WithHint("What takes long is for a worker's main function, not for Init or package variables."))
	}
	if c.Name != file {
		c.complain(warning(elog.InvalidName, "the library calls itself \"%s\", but its file is \"%s\"", c.Name, file).
			WithHint("Hosts and registrations go by the file: call it \"%s\", or say \"%s\" in shared_preload_libraries.", c.Name, file))
	}
	for _, w := range c.Workers {
		switch own := w.LibraryName == file || w.LibraryName == c.File; {
		case !own:
			c.complain(warning(elog.UndefinedFile, "background worker \"%s\" is not to run from this file, but from library \"%s\"", w.Name, w.LibraryName))
		case !slices.Contains(c.Functions, w.FunctionName):
			c.complain(warning(elog.UndefinedFunction, "could not find function \"%s\" in file \"%s\"", w.FunctionName, c.File).
				WithDetail("Background worker \"%s\" would fail at each start.", w.Name))
		}
	}
}

func (c *LibraryCheck) complain(e *elog.ErrorData) { c.Problems = append(c.Problems, e) }

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	const most = 100
	if runes := []rune(strings.ToValidUTF8(line, "?")); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return line
}

// capture keeps what a child writes to a descriptor.
type capture struct {
	in, out *os.File
	text    strings.Builder
	done    chan struct{}
}

const mostCaptured = 64 << 10

func newCapture() (*capture, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, fatal(elog.InsufficientResources, err, "could not create a pipe: %s", elog.OSReason(err))
	}
	c := &capture{in: in, out: out, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_, _ = io.Copy(&c.text, io.LimitReader(out, mostCaptured))
		_, _ = io.Copy(io.Discard, out) // it shall not wait for us
	}()
	return c, nil
}

// end returns what was written. What the child has started, and does not belong
// to its process group any more, may have the descriptor still: it is waited for
// until the deadline.
func (c *capture) end(deadline time.Time) string {
	_ = c.in.Close()
	_ = c.out.SetReadDeadline(deadline) // a pipe has one
	<-c.done
	_ = c.out.Close()
	return c.text.String()
}
