package pluginstest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/host"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/pluginstest"
	"github.com/pgexthost/pgexthost/workerspi"
)

// asProgram makes the test binary one that its main function would be
// plugins.Main of: of worker_spi, or of the library of these tests.
const asProgram = "PLUGINSTEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "worker_spi":
		plugins.Main(workerspi.Library())
	case "kit":
		plugins.Main(kit())
	case "broken":
		plugins.Main(plugins.Library{Name: "broken", Init: func(*plugins.Init) error { return errors.New("no room") }})
	case "host":
		beHost(os.Args[1])
	}
	os.Exit(pluginstest.Main(m, pair()))
}

// beHost is the main function of a host that knows nothing of this package.
func beHost(dir string) {
	plugins.Register(pair())
	os.Exit(host.Run(context.Background(), host.Options{DataDir: dir, Settings: []string{"shared_preload_libraries=pair"}}))
}

// of returns a library with one function, main, and no workers of its own.
func of(main plugins.MainFunc) plugins.Library {
	return plugins.Library{Name: "mine", Functions: plugins.Functions{"main": main}}
}

// nap waits, in a worker, until something happens or a minute is over.
func nap(ctx context.Context, w *plugins.Worker) (plugins.WakeEvents, error) {
	events, err := w.WaitLatch(ctx, plugins.LatchSet|plugins.Timeout|plugins.ExitOnPostmasterDeath, time.Minute, plugins.ExtensionWait("Nap"))
	w.ResetLatch()
	return events, err
}

// fakeT is a test that is expected to fail, with less time than the real one.
type fakeT struct {
	testing.TB
	end      time.Time
	messages []string
	cleanups []func()
}

func (f *fakeT) Helper()                     {}
func (f *fakeT) Deadline() (time.Time, bool) { return f.end, true }
func (f *fakeT) Cleanup(clean func())        { f.cleanups = append(f.cleanups, clean) }
func (f *fakeT) Output() io.Writer           { return io.Discard }
func (f *fakeT) Errorf(format string, args ...any) {
	f.messages = append(f.messages, fmt.Sprintf(format, args...))
}

func (f *fakeT) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

func (f *fakeT) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// wantFailure runs a test of an author's, with its cleanups, and demands that it
// fails with a message.
func wantFailure(t *testing.T, want string, test func(t testing.TB)) {
	t.Helper()
	f := &fakeT{TB: t, end: time.Now().Add(6 * time.Second)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for len(f.cleanups) > 0 {
				last := len(f.cleanups) - 1
				clean := f.cleanups[last]
				f.cleanups = f.cleanups[:last]
				clean()
			}
		}()
		test(f)
	}()
	<-done
	if got := strings.Join(f.messages, "\n"); !strings.Contains(got, want) {
		t.Errorf("the test has failed with %q, want %q", got, want)
	}
}
