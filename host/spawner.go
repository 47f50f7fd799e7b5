package host

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/internal/trampoline"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// spawner starts every child of the host, one at a time, from one operating
// system thread that lives as long as the host: the kernel sends a child its
// postmaster-death signal when the thread that forked it exits. Starting
// happens beside the event loop, because an exec can hang on a dead file
// system.
type spawner struct {
	requests chan spawnRequest
	quit     chan struct{}
	resolver *resolver
}

// spawnRequest is one process to start. Done is called on the spawner's thread.
type spawnRequest struct {
	path  string
	title string // argv[0], what ps shows
	env   []string
	dir   string
	files []*os.File // by descriptor number; nil is /dev/null

	library *libraryRequest // if that is an executable, it is what is started, in the place of path
	done    func(spawned)
}

// spawned is a started process: its pid and a descriptor that stands for it and
// polls readable when it has exited. Or err says why there is none.
type spawned struct {
	pid     int
	pidfd   int
	library *foundLibrary // what there was under the name of the library, or nil
	err     error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest), quit: make(chan struct{}), resolver: newResolver()}
	ready := make(chan struct{})
	go s.run(ready)
	<-ready
	return s
}

// heldBack are the signals a child must not miss between its birth and its
// handlers: blocked here, they stay pending there.
var heldBack = []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, plugins.PostmasterDeathSignal}

func (s *spawner) run(ready chan<- struct{}) {
	runtime.LockOSThread() // and never unlock: see above
	if onLeadingThread() {
		go s.run(ready) // on another thread: this one gets the orphans, see orphans.go
		<-s.quit
		return
	}
	blockSignals(heldBack)
	close(ready)
	for {
		select {
		case r := <-s.requests:
			r.done(s.start(r))
		case <-s.quit:
			return
		}
	}
}

// submit queues a request. It does not wait, however long the spawner is busy:
// the event loop calls it.
func (s *spawner) submit(r spawnRequest) {
	go func() {
		select {
		case s.requests <- r:
		case <-s.quit:
		}
	}()
}

// close lets the thread go once it is idle. No child may be alive any more.
func (s *spawner) close() { close(s.quit) }

// start finds the library and starts its process.
func (s *spawner) start(r spawnRequest) spawned {
	var lib *foundLibrary
	if r.library != nil {
		if lib = s.resolver.resolve(*r.library); lib.File != "" {
			r.path = lib.File
		}
		if lib.Limits != nil {
			if err := r.limit(&lib.Library); err != nil {
				return spawned{library: lib, err: err}
			}
		}
	}
	result := r.start()
	result.library = lib
	if lib != nil && r.path == lib.File && errors.Is(result.err, unix.ENOENT) { // not the trampoline
		result.err = explainMissing(r.path, result.err)
	}
	return result
}

// limit makes a request one for a trampoline, which starts the process with the
// limits of its library.
func (r *spawnRequest) limit(lib *handshake.Library) error {
	order := trampoline.Order{Program: r.path, Library: lib.Name, Limits: lib.Limits}
	if lib.Limits.Memory > 0 {
		var err error
		if order.Data, err = library.DataSize(r.path); err != nil {
			return fmt.Errorf("could not execute \"%s\": %w", r.path, osError{err})
		}
	}
	r.env, r.path = order.Environment(r.env), executable
	return nil
}

// explainMissing adds what "No such file or directory" means of an executable
// that is there.
func explainMissing(file string, err error) error {
	if unix.Access(file, unix.F_OK) != nil {
		return err
	}
	return elog.New(elog.Error, elog.FileAccessCode(err), "%v", err).WithCause(err).
		WithHint("The file is there, but not the dynamic linker that it asks for. Build it with CGO_ENABLED=0, or on this system.")
}

func (r spawnRequest) start() spawned {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return spawned{err: err}
	}
	defer null.Close()
	fds := make([]uintptr, len(r.files))
	for i, f := range r.files {
		if f == nil {
			f = null
		}
		fds[i] = f.Fd()
	}
	pidfd := -1
	failpoint.Here(failpoint.Forking)
	pid, err := syscall.ForkExec(r.path, []string{r.title}, &syscall.ProcAttr{
		Dir: r.dir, Env: r.env, Files: fds,
		Sys: childAttributes(&pidfd),
	})
	if err != nil {
		return spawned{err: fmt.Errorf("could not execute \"%s\": %w", r.path, osError{err})}
	}
	if pidfd < 0 {
		// Without pidfds there is no race-free way to watch and signal it.
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return spawned{err: fmt.Errorf("the kernel has no process descriptors: %w", unix.ENOSYS)}
	}
	failpoint.Of(failpoint.Forked, pid)
	_ = unix.SetNonblock(pidfd, true) // lets the netpoller watch it
	return spawned{pid: pid, pidfd: pidfd}
}

// osError words an error of the operating system as %m does.
type osError struct{ error }

func (e osError) Error() string { return elog.OSReason(e.error) }
func (e osError) Unwrap() error { return e.error }

// transient reports whether a failed start may succeed a little later.
func transient(err error) bool {
	for _, errno := range [...]unix.Errno{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ETXTBSY} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
