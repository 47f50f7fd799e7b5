package host

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// signals has one channel of capacity one per signal of a postmaster, named
// after what pmdie takes it for. Like the kernel it coalesces what is not yet
// handled, and a flood of one kind never displaces another.
type signals struct {
	smart, fast, immediate, reload chan os.Signal
	orphans                        chan os.Signal // nil: there are none
	ignored                        chan os.Signal // nobody reads it
}

// catchSignals takes over the signals of a postmaster. None is ever ignored
// with SIG_IGN, which children would inherit.
func catchSignals() signals {
	catch := func(sigs ...os.Signal) chan os.Signal {
		c := make(chan os.Signal, 1)
		signal.Notify(c, sigs...)
		return c
	}
	return signals{
		smart: catch(unix.SIGTERM), fast: catch(unix.SIGINT), immediate: catch(unix.SIGQUIT), reload: catch(unix.SIGHUP),
		orphans: catchOrphans(),
		ignored: catch(unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE),
	}
}
