package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// controller is what the commands that control a host in the background have in
// common. They speak as pg_ctl does, so that scripts and fingers made for that
// work: same options, same words on the same streams, same exit codes.
type controller struct {
	flags   *pflag.FlagSet
	dir     string // as the user wrote it, cleaned
	silent  bool
	wait    bool
	seconds uint32 // how long to wait
}

// newControl returns a command with the option -D. Others are added with the
// functions below, before parse.
func newControl(name, synopsis, text string) *controller {
	c := &controller{flags: newFlags(name, synopsis, text), wait: true}
	dataDirFlag(c.flags, &c.dir)
	return c
}

func (c *controller) addSilent() {
	c.flags.BoolVarP(&c.silent, "silent", "s", false, "only print errors, no informational messages")
}

// defaultSeconds is how long commands wait unless told otherwise.
const defaultSeconds = 60

// addWait adds -t, -w and -W, of which the last one given counts.
func (c *controller) addWait() {
	c.flags.Uint32VarP(&c.seconds, "timeout", "t", defaultSeconds, "`SECS` to wait (default: $PGCTLTIMEOUT, or 60)")
	c.flags.Lookup("timeout").DefValue = "0" // the text says it better
	switchTo := func(to bool) func(string) error {
		return func(text string) error {
			on, err := strconv.ParseBool(text)
			c.wait = on == to
			return err
		}
	}
	c.flags.BoolFuncP("wait", "w", "wait until the operation is complete (default)", switchTo(true))
	c.flags.BoolFuncP("no-wait", "W", "do not wait until the operation is complete", switchTo(false))
}

// parse reads the arguments, and checks that there is a data directory.
func (c *controller) parse(args []string) error {
	if err := parse(c.flags, args); err != nil {
		return err
	}
	if err := c.readTimeout(); err != nil {
		return err
	}
	if err := requireDataDir(c.flags, c.dir); err != nil {
		return err
	}
	c.dir = filepath.Clean(c.dir)
	return c.checkDir()
}

// readTimeout lets PGCTLTIMEOUT stand in for -t.
func (c *controller) readTimeout() error {
	text, set := os.LookupEnv("PGCTLTIMEOUT")
	flag := c.flags.Lookup("timeout")
	if !set || flag == nil || flag.Changed {
		return nil
	}
	if flag.Value.Set(text) != nil {
		return subcommandError(c.flags.Name(), "invalid value for environment variable \"PGCTLTIMEOUT\": \"%s\"", text)
	}
	return nil
}

// checkDir refuses a directory that is no host's. It says little about why: the
// host itself says more when it is started there.
func (c *controller) checkDir() error {
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return failure("directory \"%s\" does not exist", c.dir)
	} else if err != nil {
		return failure("could not access directory \"%s\": %s", c.dir, elog.OSReason(err))
	}
	_, err := os.Stat(filepath.Join(c.dir, host.ConfigFileName))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return failure("directory \"%s\" is not a data directory of pgexthost", c.dir)
	}
	return nil
}

// checkVisit refuses a directory as a host would that is started there. But root
// may look into one that is another user's, since the host lets it in.
func checkVisit(dir string) error {
	var st unix.Stat_t
	if os.Geteuid() == 0 && unix.Stat(dir, &st) == nil && st.Uid != 0 {
		return (&controller{dir: dir}).checkDir()
	}
	return host.CheckDataDir(dir)
}

// holder finds the host that runs in the data directory, which is about to get
// a signal for the given purpose. The caller closes it.
func (c *controller) holder(purpose string) (*lockfile.Process, error) {
	contents, err := lockfile.Read(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure("%s", c.notThere())
	}
	if err != nil {
		return nil, inWords(err)
	}
	p, err := contents.Holder()
	if errors.Is(err, lockfile.ErrCopied) {
		return nil, failure("%s\nIs server running?", c.isCopy(contents))
	}
	if errors.Is(err, lockfile.ErrGone) {
		return nil, cannotSignal(purpose, contents.Pid, err)
	}
	return p, inWords(err)
}

// notThere is what there is to say when no host runs in the data directory.
func (c *controller) notThere() string {
	return fmt.Sprintf("PID file \"%s\" does not exist\nIs server running?", filepath.Join(c.dir, lockfile.Name))
}

// isCopy is what there is to say about a lock file that was copied here.
func (c *controller) isCopy(contents lockfile.Contents) string {
	return fmt.Sprintf("PID file \"%s\" is a copy of that in directory \"%s\", where server process (PID: %d) runs",
		filepath.Join(c.dir, lockfile.Name), contents.DataDir, contents.Pid)
}

// sendSignal sends a signal to a host, for the given purpose.
func sendSignal(p *lockfile.Process, sig unix.Signal, purpose string) error {
	if err := p.Signal(sig); err != nil {
		return cannotSignal(purpose, p.Pid, err)
	}
	return nil
}

func cannotSignal(purpose string, pid int, err error) error {
	return failure("could not send %s signal (PID: %d): %s", purpose, pid, signalReason(err))
}

func signalReason(err error) string {
	if errors.Is(err, lockfile.ErrGone) || errors.Is(err, unix.ESRCH) {
		return "No such process"
	}
	return elog.OSReason(err)
}

// say prints what is no error, unless the user wants silence.
func (c *controller) say(format string, args ...any) {
	if !c.silent {
		fmt.Printf(format, args...)
	}
}

// warn prints what must be heard even then.
func warn(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "pgexthost: "+format+"\n", args...)
}

// awaitEvent waits for an event, with a dot for each second that it takes. It
// reports false when the time is over. Without any time it does not even look.
func awaitEvent[T any](c *controller, events <-chan T) (event T, ok bool) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for range c.seconds {
		c.say(".")
		select {
		case event := <-events:
			return event, true
		case <-second.C:
		}
	}
	return event, false
}

// ctlError is an error that pg_ctl reports, in its words: without a severity,
// and with further lines for what else there is to say.
type ctlError struct {
	status int
	text   string
}

func (e *ctlError) Error() string { return e.text }

// failure returns a ctlError with the exit code 1.
func failure(format string, args ...any) error {
	return &ctlError{1, fmt.Sprintf(format, args...)}
}

// withStatus gives a ctlError another exit code.
func withStatus(err error, status int) error {
	if e, ok := errors.AsType[*ctlError](err); ok {
		return &ctlError{status, e.text}
	}
	return err
}

// inWords turns a report into a ctlError.
func inWords(err error) error {
	if err == nil {
		return nil
	}
	report := elog.AsErrorData(err, elog.Error)
	text := report.Message
	for _, more := range []string{report.Detail, report.Hint} {
		if more != "" {
			text += "\n" + more
		}
	}
	return failure("%s", text)
}
