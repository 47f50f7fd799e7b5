package localpg

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestServerOutlivesTheThreadThatCalledStart(t *testing.T) {
	t.Parallel()
	var s *Server
	var tid int
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		tid = unix.Gettid()
		s = start(t, Options{})
	}()
	<-done
	eventually(t, "the thread ends", func() bool {
		return tid == os.Getpid() || !exists(filepath.Join("/proc/self/task", itoa(tid)))
	})
	query(t, s.ConnInfo(), "SELECT 1")
}
