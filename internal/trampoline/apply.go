package trampoline

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// failed words the failure of one limit. Value is what it should have been.
func (o *Order) failed(limit, value string, err error) *elog.ErrorData {
	return elog.New(elog.Error, elog.FileAccessCode(err), "could not set \"%s\" of library \"%s\" to %s: %s", limit, o.Library, value, elog.OSReason(err)).
		WithHint("\"library_limits\" asks for it.")
}

func (o *Order) setDirectory() *elog.ErrorData {
	if o.Limits.Directory == "" {
		return nil
	}
	if err := unix.Chdir(o.Limits.Directory); err != nil {
		return o.failed(limits.Directory, "\""+o.Limits.Directory+"\"", err).
			WithHint("\"library_limits\" asks for it: the host's user needs a directory there, which it may enter.")
	}
	return nil
}

func (o *Order) setNice() *elog.ErrorData {
	if o.Limits.Nice == nil {
		return nil
	}
	// Of this thread, the only one that will live on.
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *o.Limits.Nice); err != nil {
		return o.failed(limits.Nice, strconv.Itoa(*o.Limits.Nice), err).
			WithHint("\"library_limits\" asks for it: less than what the host itself runs with takes CAP_SYS_NICE or a greater RLIMIT_NICE.")
	}
	setAutogroupNice(*o.Limits.Nice)
	return nil
}

// setAutogroupNice gives the niceness to the process's session, too. Where the
// kernel groups processes by session, as it does outside of containers and
// service managers, that of a process only counts within its session. The kernel
// takes one such change in a tenth of a second from those who are not root;
// where many processes start at once, some may go without.
func setAutogroupNice(nice int) {
	fd, err := unix.Open("/proc/self/autogroup", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // the kernel has no such thing
	}
	defer func() { _ = unix.Close(fd) }()
	for range 10 {
		if _, err = unix.Write(fd, []byte(strconv.Itoa(nice))); err != unix.EAGAIN {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (o *Order) setFiles() *elog.ErrorData {
	if o.Limits.Files == 0 {
		return nil
	}
	return o.setLimit(unix.RLIMIT_NOFILE, limits.Files, uint64(o.Limits.Files), strconv.Itoa(o.Limits.Files))
}

// runtimeReserve is what the runtime of a Go program on a 64-bit machine maps at
// its start and hardly touches: an index of its heap of 32 MB, and what belongs to
// it. The kernel counts it as data all the same, as it does all variables of the
// program, of which one of package crypto has another 32 MB.
const runtimeReserve = 40 << 20

// setMemory limits the data of the process, not its address space: the Go
// runtime reserves a lot of that. It is the last, as this process obeys, too.
func (o *Order) setMemory() *elog.ErrorData {
	if o.Limits.Memory == 0 {
		return nil
	}
	return o.setLimit(unix.RLIMIT_DATA, limits.Memory, uint64(o.Limits.Memory+o.Data+runtimeReserve), limits.Size(o.Limits.Memory))
}

// setLimit lowers a limit of the process for good. One that is lower already
// stays what it is.
func (o *Order) setLimit(resource int, name string, n uint64, shown string) *elog.ErrorData {
	var now unix.Rlimit
	err := unix.Getrlimit(resource, &now)
	if err == nil {
		n = min(n, now.Cur) // of files, the Go runtime has made that the maximum
		err = unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
	}
	if err != nil {
		return o.failed(name, shown, err)
	}
	return nil
}

func (o *Order) setNoNewPrivileges() *elog.ErrorData {
	if !o.Limits.NoNewPrivileges {
		return nil
	}
	if err := renouncePrivileges(); err != nil {
		return o.failed(limits.NoNewPrivileges, "on", err)
	}
	return nil
}
