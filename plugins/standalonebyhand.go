package plugins

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// byHand is a library whose program was started by a person.
type byHand struct {
	library        Library
	program        string // as it is called
	stdout, stderr io.Writer
}

func newByHand(l Library) byHand {
	return byHand{l, filepath.Base(os.Args[0]), os.Stdout, os.Stderr}
}

// main is the whole program, and returns its exit code. With --standalone it does
// not return once the worker has started.
func (b byHand) main(args []string) int {
	o, err := parseByHand(args)
	switch {
	case err != nil:
		b.complain(err)
		return 1
	case o.version && !o.help:
		fmt.Fprintf(b.stdout, "%s %s\n", b.library.Name, programVersion())
		return 0
	case o.function == "" || o.help:
		b.describe()
		return 0
	}
	return b.runStandalone(&o)
}

// complain reports an error of the command line as PostgreSQL's programs do.
func (b byHand) complain(err error) {
	report := elog.AsErrorData(err, elog.Error)
	hint := report.Hint
	if hint == "" {
		hint = fmt.Sprintf("Try \"%s --help\" for more information.", b.program)
	}
	for _, part := range [...]struct{ label, text string }{{"error", report.Message}, {"detail", report.Detail}, {"hint", hint}} {
		if part.text != "" {
			fmt.Fprintf(b.stderr, "%s: %s: %s\n", b.program, part.label, part.text)
		}
	}
}

// runStandalone runs one worker in this process, whose end is that of the
// process. It returns an exit code only if there is nothing to run.
func (b byHand) runStandalone(o *byHandOptions) int {
	s, err := newSolo(b.library, b.stderr, o.read)
	var entry entryPoint
	if err == nil {
		slog.SetDefault(slog.New(elog.NewHandler(s.log))) // as in a child
		err = s.load()
	}
	if err == nil {
		entry, err = s.prepare(o.worker, o.function)
	}
	if err != nil {
		s.log.Emit(elog.AsErrorData(err, elog.Fatal))
		return 1
	}
	w := s.worker
	w.end = func(code int) {
		if code != 0 { // what the postmaster would say
			s.log.Logf(elog.Log, "background worker \"%s\" (PID %d) exited with exit code %d", w.entry.Type, w.Pid(), code)
		}
		os.Exit(code)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2) // an Init that hangs dies of Ctrl-C
	s.log.Emit(elog.New(elog.Log, elog.SuccessfulCompletion, "running background worker \"%s\" without a host", w.entry.Name).
		WithDetail("%s", describeRun(w.entry)).
		WithHint("Ctrl-C ends it as SIGTERM does, a second Ctrl-C at once."))
	go s.passOn(signals)
	s.run(entry)
	return s.exit.Code
}

// describeRun says what a worker runs, and with what.
func describeRun(w BackgroundWorker) string {
	text := fmt.Sprintf("Function \"%s\", main argument %d", w.FunctionName, w.MainArg)
	if extra := ExtraText(w); extra != "" {
		text += fmt.Sprintf(", extra data \"%s\"", strings.ToValidUTF8(extra, "?"))
	}
	return text + "."
}

// passOn gives the worker the signals that the process gets. SIGQUIT keeps
// the default action of Go, which is PostgreSQL's with the stacks of all
// goroutines: it ends the process with exit code 2.
func (s *solo) passOn(signals <-chan os.Signal) {
	for sig := range signals {
		number, _ := sig.(unix.Signal)
		if number == unix.SIGINT {
			signal.Reset(unix.SIGINT) // the next one does what it does to any program
			number = unix.SIGTERM
		}
		s.Signal(number)
	}
}
