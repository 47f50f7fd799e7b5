package launcher

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEachDatabaseHasAWorkerWhileItExists(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("first")
	b.start()
	b.awaitConnected("first")
	b.create("second")
	b.awaitConnected("second")

	b.exec("", "DROP DATABASE "+b.prefix+"first") // the worker makes room
	b.waitLog(1, b.ended("first"))
	b.exec("", "DROP DATABASE "+b.prefix+"second WITH (FORCE)")
	b.waitLog(1, b.ended("second"))

	b.create("first") // another one, of the same name
	b.awaitConnected("first")
	b.signalHost(unix.SIGINT)
	b.waitLog(1, `LOG:  extension host is shut down$`)
}

func TestARenamedDatabaseGetsAWorkerOfItsNewName(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("old")
	b.start()
	b.awaitConnected("old")
	b.exec("", "ALTER DATABASE "+b.prefix+"old RENAME TO "+b.prefix+"new")
	b.awaitConnected("new")
	b.waitLog(1, b.started("new"))
	b.eventually("one worker", func() bool {
		return b.query("", "SELECT string_agg(application_name, ' ') FROM pg_stat_activity WHERE datname = '"+b.prefix+"new'") == "analyzer of "+b.prefix+"new"
	})
}

func TestTemplatesAndClosedDatabasesHaveNoWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("template")
	b.create("closed")
	b.create("private")
	b.exec("", "ALTER DATABASE "+b.prefix+"template IS_TEMPLATE true")
	b.exec("", "ALTER DATABASE "+b.prefix+"closed ALLOW_CONNECTIONS false")
	b.start("analyzer.exclude=*_private, nosuch")
	b.awaitNextLaunch()
	for _, name := range []string{"template", "closed", "private"} {
		if n := b.countLog(b.started(name)); n != 0 {
			t.Errorf("%s has had %d workers", name, n)
		}
	}
	b.exec("", "ALTER DATABASE "+b.prefix+"closed ALLOW_CONNECTIONS true")
	b.awaitConnected("closed")
	b.exec("", "ALTER DATABASE "+b.prefix+"template IS_TEMPLATE false")
	b.awaitConnected("template")
}

func TestAReloadStopsTheWorkersOfWhatIsExcluded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("stays")
	b.create("goes")
	b.start()
	b.awaitConnected("stays", "goes")
	b.configure("analyzer.exclude = '*_goes'")
	b.waitLog(1, b.ended("goes"))
	if b.connected("stays") != "1" || b.countLog(b.ended("stays")) != 0 {
		t.Error("the other worker was stopped, too")
	}
	b.configure("analyzer.exclude = '['") // refused: all stays as it is
	b.waitLog(1, `invalid pattern in parameter "analyzer.exclude": "\["$`)
	b.configure("analyzer.exclude = ''")
	b.awaitConnected("goes")
}

// configure adds a line to the configuration and reloads it.
func (b *bench) configure(line string) {
	b.t.Helper()
	conf, err := os.OpenFile(filepath.Join(b.dir, "pgexthost.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := conf.WriteString(line + "\n"); err != nil {
		b.t.Fatal(err)
	}
	conf.Close()
	b.signalHost(unix.SIGHUP)
}

func TestALauncherThatWasKilledDoublesNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	names := []string{"one", "two", "three"}
	for _, name := range names {
		b.create(name)
	}
	b.start()
	b.awaitConnected(names...)
	b.killLauncher()
	b.exec("", "DROP DATABASE "+b.prefix+"three") // nobody but the host sees to that
	b.create("four")
	b.waitLog(2, `starting background worker process "analyzer launcher"$`)
	b.awaitConnected("one", "two", "four")
	for name, want := range map[string]int{"one": 1, "two": 1, "four": 1} {
		if n := b.countLog(b.started(name)); n != want || b.connected(name) != "1" {
			t.Errorf("%s has had %d workers", name, n)
		}
	}
}

// killLauncher kills the launcher, whose process is found by its title.
func (b *bench) killLauncher() {
	b.t.Helper()
	children, err := filepath.Glob("/proc/" + strconv.Itoa(b.host.Process.Pid) + "/task/*/children")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, pid := range fieldsOf(children) {
		title, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if n, err := strconv.Atoi(pid); err == nil && isLauncher(string(title)) {
			if err := unix.Kill(n, unix.SIGKILL); err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
	b.t.Fatal("there is no launcher")
}

func TestAShortageOfSlotsIsLoggedOnceAndEndsByItself(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("first")
	b.create("second")
	b.create("third")
	b.start("max_worker_processes=3") // the launcher's, and two
	b.awaitConnected("first", "second")
	const warning = `WARNING:  no analyzer for database ".*_third": out of background worker slots$`
	b.waitLog(1, warning)
	b.waitLog(1, `DETAIL:  Databases without one: 1\. They get theirs as soon as there is room\.$`)
	b.exec("", "DROP DATABASE "+b.prefix+"first")
	b.awaitConnected("third")
	b.waitLog(1, `LOG:  every database has its analyzer again$`)
	if n := b.countLog(warning); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	b.create("fourth") // a shortage of its own
	b.waitLog(1, `WARNING:  no analyzer for database ".*_fourth"`)
}
