package plugins

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// IsChild reports whether this process was started by a host, to be one of its
// children.
func IsChild() bool { return os.Getenv(handshake.EnvChild) != "" }

// RunChild is the life of a child process: it shakes hands with the postmaster,
// runs what it is told to and exits. It never returns. Call it first thing in
// main if IsChild says so, after the libraries have been registered.
func RunChild() {
	failpoint.Here(failpoint.ChildStarted)
	earlySignals() // from here on no signal takes its default action
	_ = os.Unsetenv(handshake.EnvChild)
	if _, isProgram := programLibrary(); !isProgram {
		// The host starts us through /proc/self/exe, so top would call us "exe".
		_ = os.WriteFile("/proc/self/comm", []byte("pgexthost"), 0)
	}
	c, err := accept()
	if err != nil {
		// Nobody may be listening any more, but if somebody is, this is why.
		fmt.Fprintf(os.Stderr, "pgexthost: could not start as a child of a host: %v\n", err)
		os.Exit(1)
	}
	c.run()
}

// child is a process that has shaken hands.
type child struct {
	startup handshake.Startup
	socket  *os.File
	worker  *Worker
	loader  *loader
	gate    gate

	borrowed *borrowed // of a worker without shared memory, until it is detached
}

// borrowed is the shared memory that even a worker without any has until its
// main function starts: it says there that it acts upon signals.
type borrowed struct {
	segment *shmem.Segment
	record  shmem.ProcRecord
	alarm   *shmem.Alarm
}

// detach gives up what is borrowed. Mirrors PGSharedMemoryDetach and
// dsm_detach_all in the EXEC_BACKEND start of such a worker.
func (c *child) detach() {
	if c.borrowed == nil {
		return
	}
	c.borrowed.record.MakeReady()
	_ = c.borrowed.alarm.Close()
	_ = c.borrowed.segment.Close()
	c.borrowed = nil
}

// startupLimit is how long the postmaster's first message may take.
const startupLimit = 60 * time.Second

// accept is the child's half of the handshake.
func accept() (*child, error) {
	for fd := handshake.FDSegment; fd < handshake.FDCount; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, fmt.Errorf("descriptor %d was not inherited: %w", fd, err)
		}
	}
	socket := os.NewFile(handshake.FDSocket, "handshake")
	c := &child{socket: socket}
	if err := socket.SetDeadline(time.Now().Add(startupLimit)); err != nil {
		return nil, err
	}
	if err := handshake.Read(socket, &c.startup); err != nil {
		return nil, fmt.Errorf("could not read the postmaster's message: %w", err)
	}
	failpoint.Here(failpoint.StartupRead)
	segment, err := c.attach()
	failpoint.Here(failpoint.Attached)
	hello := handshake.Hello{
		Protocol: handshake.ProtocolVersion, LayoutHash: shmem.LayoutHash(), ABI: handshake.ABIVersion, GoVersion: runtime.Version(),
	}
	if err != nil {
		hello.Error = err.Error()
	} else {
		c.become(segment)
	}
	failpoint.Here(failpoint.HelloSending)
	if writeErr := handshake.Write(socket, hello); writeErr != nil && err == nil {
		err = fmt.Errorf("could not answer the postmaster: %w", writeErr)
	}
	failpoint.Here(failpoint.HelloSent)
	return c, err
}

// attach maps the shared memory the postmaster has passed on.
func (c *child) attach() (*shmem.Segment, error) {
	if c.startup.Protocol != handshake.ProtocolVersion {
		return nil, fmt.Errorf("the host speaks protocol version %d, this program speaks %d", c.startup.Protocol, handshake.ProtocolVersion)
	}
	if _, isProgram := programLibrary(); !isProgram && c.startup.Library != nil && c.startup.Library.File != "" {
		return nil, errors.New("its main function calls plugins.RunChild, but not plugins.Main: it is a host, and no library")
	}
	segment, err := shmem.Attach(os.NewFile(handshake.FDSegment, "shared memory"))
	if err != nil {
		return nil, err
	}
	if c.startup.Proc < 0 || c.startup.Proc >= segment.ProcCount() {
		return nil, fmt.Errorf("process record %d is out of range", c.startup.Proc)
	}
	return segment, nil
}

// become makes the process what the start-up message says: its log, settings,
// signals and lifeline.
func (c *child) become(segment *shmem.Segment) {
	store, reports := guc.NewChildStore(c.startup.Settings, settings.Definitions()...)
	log := elog.NewLogger(os.Stderr)
	settings.ConfigureLog(log, store)
	slog.SetDefault(slog.New(elog.NewHandler(log))) // and with it that of package log
	var entry BackgroundWorker
	if c.startup.Worker != nil {
		entry = FromDescriptor(*c.startup.Worker)
		c.gate = gate{request: entry.request, slot: c.startup.Slot, generation: c.startup.Generation}
	}
	log.Identify(entry.Name, c.backendType(entry))
	if entry.Flags&ClassParallel != 0 {
		log.SetLeader(entry.NotifyPid) // as LaunchParallelWorkers registers them
	}
	for _, r := range reports {
		log.Emit(r)
	}
	own := &ownSettings{store: store, configFile: c.startup.ConfigFile, log: log}
	c.loader = newLoader(c.startup.Library, own, log)
	alarm := shmem.InheritAlarm(handshake.FDAlarm)
	if shared := segment.Proc(c.startup.Proc); c.startup.Worker == nil || entry.Flags&ShmemAccess != 0 {
		c.worker = newWorker(c.startup.Kind, entry, segment, shared)
		c.worker.alarm = alarm
	} else {
		c.worker = newWorker(c.startup.Kind, entry, segment, shmem.PrivateProc())
		c.worker.segment = nil
		c.borrowed = &borrowed{segment, shared, alarm}
	}
	c.worker.log, c.worker.settings, c.worker.loader = log, own, c.loader
	c.worker.catchSignals()
	go c.worker.watchLifeline(os.NewFile(handshake.FDLifeline, "lifeline"))
}

// backendType is what %b shows in log_line_prefix.
func (c *child) backendType(entry BackgroundWorker) string {
	switch {
	case c.startup.Auxiliary != "":
		return c.startup.Auxiliary
	case c.startup.Worker != nil:
		return entry.Type
	}
	return "preload"
}
