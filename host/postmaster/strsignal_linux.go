package postmaster

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// signalNames are glibc's descriptions, which Go's own are not: those are in
// lower case and stop at 15.
var signalNames = [...]string{
	unix.SIGHUP:    "Hangup",
	unix.SIGINT:    "Interrupt",
	unix.SIGQUIT:   "Quit",
	unix.SIGILL:    "Illegal instruction",
	unix.SIGTRAP:   "Trace/breakpoint trap",
	unix.SIGABRT:   "Aborted",
	unix.SIGBUS:    "Bus error",
	unix.SIGFPE:    "Floating point exception",
	unix.SIGKILL:   "Killed",
	unix.SIGUSR1:   "User defined signal 1",
	unix.SIGSEGV:   "Segmentation fault",
	unix.SIGUSR2:   "User defined signal 2",
	unix.SIGPIPE:   "Broken pipe",
	unix.SIGALRM:   "Alarm clock",
	unix.SIGTERM:   "Terminated",
	unix.SIGSTKFLT: "Stack fault",
	unix.SIGCHLD:   "Child exited",
	unix.SIGCONT:   "Continued",
	unix.SIGSTOP:   "Stopped (signal)",
	unix.SIGTSTP:   "Stopped",
	unix.SIGTTIN:   "Stopped (tty input)",
	unix.SIGTTOU:   "Stopped (tty output)",
	unix.SIGURG:    "Urgent I/O condition",
	unix.SIGXCPU:   "CPU time limit exceeded",
	unix.SIGXFSZ:   "File size limit exceeded",
	unix.SIGVTALRM: "Virtual timer expired",
	unix.SIGPROF:   "Profiling timer expired",
	unix.SIGWINCH:  "Window changed",
	unix.SIGIO:     "I/O possible",
	unix.SIGPWR:    "Power failure",
	unix.SIGSYS:    "Bad system call",
}

// The first and the last signal that glibc calls a real-time signal.
const sigrtmin, sigrtmax = 34, 64

// strsignal mirrors pg_strsignal, which is strsignal(3).
func strsignal(sig unix.Signal) string {
	switch {
	case sig > 0 && int(sig) < len(signalNames):
		return signalNames[sig]
	case sig >= sigrtmin && sig <= sigrtmax:
		return fmt.Sprintf("Real-time signal %d", int(sig)-sigrtmin)
	}
	return fmt.Sprintf("Unknown signal %d", int(sig))
}
