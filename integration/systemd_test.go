//go:build linux

package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins"
)

// serviceManager is the end of a notify socket that systemd has.
type serviceManager struct {
	t      *testing.T
	socket *net.UnixConn
	name   string // what NOTIFY_SOCKET says
}

// newServiceManager listens on a socket in the file system.
func newServiceManager(t *testing.T) *serviceManager {
	t.Helper()
	return listenForNotices(t, filepath.Join(shortTempDir(t), "notify"))
}

func listenForNotices(t *testing.T, name string) *serviceManager {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return &serviceManager{t, socket, name}
}

// watching are the options of a host that this manager has started, and whose
// watchdog barks after the interval; 0: it has none.
func (m *serviceManager) watching(interval time.Duration) hostOption {
	return func(c *hostConfig) {
		withEnvironment("NOTIFY_SOCKET=" + m.name)(c)
		if interval > 0 {
			withEnvironment(fmt.Sprintf("WATCHDOG_USEC=%d", interval.Microseconds()))(c)
		}
	}
}

// next returns the next message, or false if there is none until the deadline.
func (m *serviceManager) next(deadline time.Time) (string, bool) {
	m.t.Helper()
	_ = m.socket.SetReadDeadline(deadline)
	var message [4096]byte
	n, err := m.socket.Read(message[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", false
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return string(message[:n]), true
}

// await waits for a message that begins like this, and fails if another of those
// that have an order comes before it.
func (m *serviceManager) await(prefix string) string {
	m.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		message, ok := m.next(deadline)
		switch {
		case !ok:
			m.t.Fatalf("no %s", prefix)
		case strings.HasPrefix(message, prefix):
			return message
		case !strings.HasPrefix(message, "STATUS=") && !strings.HasPrefix(message, "WATCHDOG="):
			m.t.Fatalf("got %q, waiting for %s", message, prefix)
		}
	}
}

// drain reads what there is, and returns how many messages begin like this.
func (m *serviceManager) drain(prefix string) (n int) {
	m.t.Helper()
	for {
		message, ok := m.next(time.Now().Add(10 * time.Millisecond))
		if !ok {
			return n
		}
		if strings.HasPrefix(message, prefix) {
			n++
		}
	}
}

func TestAServiceManagerIsToldOfReadinessReloadsAndTheStopInThisOrder(t *testing.T) {
	for name, socket := range map[string]string{
		"a socket in a directory": filepath.Join(shortTempDir(t), "notify"),
		"an abstract socket":      fmt.Sprintf("@pgexthost-test-%d", os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := listenForNotices(t, socket)
			h := startHost(t, m.watching(0))
			m.await("READY=1")
			h.waitLog(`LOG:  extension host is ready$`)
			for range 2 {
				before := monotonic(t)
				h.signal(unix.SIGHUP)
				message := m.await("RELOADING=1\nMONOTONIC_USEC=")
				var at int64
				if _, err := fmt.Sscanf(message, "RELOADING=1\nMONOTONIC_USEC=%d", &at); err != nil || at < before || at > monotonic(t) {
					t.Errorf("got %q, %v; the reload began after %d", message, err, before)
				}
				m.await("READY=1")
			}
			h.waitLogCount(`LOG:  received SIGHUP, reloading configuration files$`, 2)
			h.stop()
			m.await("STOPPING=1")
			if n := m.drain("READY") + m.drain("RELOADING") + m.drain("STOPPING"); n != 0 {
				t.Errorf("%d messages follow the last one", n)
			}
		})
	}
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

func TestAStopThatEndsOnItsOwnAccordIsAnnouncedToo(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	h := startHost(t, m.watching(0), withSetting("restart_after_crash=off"), withSetting("crash_scope=cluster"),
		withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	m.await("READY=1")
	h.waitLog(`LOG:  w waits$`)
	kill(t, h.workerPid("w"), unix.SIGKILL)
	m.await("STOPPING=1")
	if code := h.awaitExit(); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func TestTheStatusOfTheServiceSaysHowManyWorkersRun(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	h := startHost(t, m.watching(0), withWorkers(
		plugins.BackgroundWorker{Name: "one", FunctionName: "wait"}, plugins.BackgroundWorker{Name: "two", FunctionName: "wait", RestartTime: 3600},
	))
	m.awaitStatus("Server is not reachable, 2 of 2 workers running")
	kill(t, h.workerPid("two"), unix.SIGTERM)
	m.awaitStatus("Server is not reachable, 1 of 2 workers running")
	h.freeze(h.workerPid("one"))
	h.signal(unix.SIGINT)
	m.await("STOPPING=1")                                              // when the stop begins, however long it takes
	m.awaitStatus("Stopping (fast shutdown), waiting for 2 processes") // and the control server
	kill(t, h.workerPid("one"), unix.SIGCONT)
	h.awaitExit()
}

// awaitStatus waits for a status line, whatever comes before it.
func (m *serviceManager) awaitStatus(want string) {
	m.t.Helper()
	var got []string
	for deadline := time.Now().Add(limit); ; {
		message, ok := m.next(deadline)
		if !ok {
			m.t.Fatalf("no status %q among %q", want, got)
		}
		if message == "STATUS="+want {
			return
		}
		got = append(got, message)
	}
}

// The pings are the event loop's own: they end when it does not turn.
func TestTheWatchdogIsFedAsLongAsTheEventLoopTurns(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	const interval = 400 * time.Millisecond
	h := startHost(t, m.watching(interval))
	begin := time.Now()
	for range 3 {
		m.awaitPing()
	}
	if took := time.Since(begin); took < interval {
		t.Errorf("three pings within %v", took) // of which the first comes at once
	}
	h.freeze(h.pid())
	m.drain("")
	if n := m.drainFor(3 * interval); n != 0 {
		t.Errorf("%d messages while the host was stopped", n)
	}
	kill(t, h.pid(), unix.SIGCONT)
	m.awaitPing()
	m.awaitPing()
	h.stop()
}

func (m *serviceManager) awaitPing() {
	m.t.Helper()
	for deadline := time.Now().Add(limit); ; {
		message, ok := m.next(deadline)
		if !ok {
			m.t.Fatal("the watchdog is not fed")
		}
		if message == "WATCHDOG=1" {
			return
		}
	}
}

// drainFor counts the messages of so long a time.
func (m *serviceManager) drainFor(d time.Duration) (n int) {
	m.t.Helper()
	for deadline := time.Now().Add(d); ; n++ {
		if _, ok := m.next(deadline); !ok {
			return n
		}
	}
}

func TestAHostWithoutAWatchdogDoesNotPing(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	h := startHost(t, m.watching(time.Hour), withEnvironment("WATCHDOG_PID=1")) // somebody else's
	m.await("READY=1")
	h.signal(unix.SIGHUP)
	m.await("RELOADING=1")
	h.stop()
	if n := m.drain("WATCHDOG"); n != 0 {
		t.Errorf("%d pings", n)
	}
}

// A manager that does not read must neither block the host nor end it. What it
// missed of a reload it missed as a whole.
func TestAServiceManagerThatDoesNotReadHoldsUpNobody(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	m.fill()
	h := startHost(t, m.watching(20*time.Millisecond), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitLog(`LOG:  w waits$`)
	for i := range 20 {
		h.signal(unix.SIGHUP)
		h.waitLogCount(`LOG:  received SIGHUP, reloading configuration files$`, i+1)
	}
	h.signal(unix.SIGINT)
	if got := m.untilStopping(); !regexp.MustCompile(`^READY (RELOADING READY )+STOPPING$`).MatchString(got) { // it reads again
		t.Errorf("got %q", got)
	}
	m.fill()
	if code := h.awaitExit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// untilStopping returns the messages that have an order, up to the last one.
func (m *serviceManager) untilStopping() string {
	m.t.Helper()
	var got []string
	for deadline := time.Now().Add(limit); ; {
		message, ok := m.next(deadline)
		if !ok {
			m.t.Fatalf("no STOPPING after %q", got)
		}
		switch name, _, _ := strings.Cut(message, "="); name {
		case "READY", "RELOADING":
			got = append(got, name)
		case "STOPPING":
			return strings.Join(append(got, name), " ")
		}
	}
}

func TestAServiceManagerThatNeverReadsLetsTheHostEnd(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	m.fill()
	h := startHost(t, m.watching(20*time.Millisecond))
	h.waitLog(`LOG:  extension host is ready$`)
	h.stop()
}

// fill fills the socket's queue with messages of its own.
func (m *serviceManager) fill() {
	m.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer unix.Close(fd)
	for err == nil {
		err = unix.Sendto(fd, []byte("full"), 0, &unix.SockaddrUnix{Name: m.name})
	}
	if !errors.Is(err, unix.EAGAIN) {
		m.t.Fatal(err)
	}
}

func TestAServiceManagerThatIsGoneIsReportedOnce(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	_ = m.socket.Close()
	h := startHost(t, m.watching(10*time.Millisecond))
	h.waitLog(`LOG:  could not notify the service manager: .*(no such file|connection refused)`)
	h.signal(unix.SIGHUP)
	h.waitLog(`LOG:  received SIGHUP, reloading configuration files$`)
	h.stop()
	if n := h.count(`service manager`); n != 1 {
		t.Errorf("%d lines", n)
	}
}

func TestNoChildKnowsOfTheServiceManager(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	h := startHost(t, m.watching(time.Hour), withEnvironment("WATCHDOG_PID="), withWorkers(plugins.BackgroundWorker{Name: "w", FunctionName: "wait"}))
	h.waitLog(`LOG:  w waits$`)
	h.awaitControlServer()
	children, err := childrenOf(h.pid())
	if err != nil || len(children) != 2 {
		t.Fatalf("the children are %v, %v", children, err)
	}
	for _, pid := range append(children, h.pid()) {
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			t.Fatal(err)
		}
		has := strings.Contains(string(environment), "NOTIFY_SOCKET=") || strings.Contains(string(environment), "WATCHDOG_")
		if has != (pid == h.pid()) { // in the host's own it can be found
			t.Errorf("the environment of %q is %q", processTitle(pid), environment)
		}
	}
	h.stop()
}
