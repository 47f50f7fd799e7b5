package launcher

import (
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
	b.host.AwaitLog(t, b.ended("first"))
	b.exec("", "DROP DATABASE "+b.prefix+"second WITH (FORCE)")
	b.host.AwaitLog(t, b.ended("second"))

	b.create("first") // another one, of the same name
	b.awaitConnected("first")
	b.host.Stop(t)
}

func TestARenamedDatabaseGetsAWorkerOfItsNewName(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("old")
	b.start()
	b.awaitConnected("old")
	b.exec("", "ALTER DATABASE "+b.prefix+"old RENAME TO "+b.prefix+"new")
	b.awaitConnected("new")
	b.host.AwaitLog(t, b.started("new"))
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
	b.host.Set(t, "analyzer.exclude", "*_goes")
	b.host.AwaitLog(t, b.ended("goes"))
	if b.connected("stays") != "1" || b.countLog(b.ended("stays")) != 0 {
		t.Error("the other worker was stopped, too")
	}
	b.host.Set(t, "analyzer.exclude", "[") // refused: all stays as it is
	b.host.AwaitLog(t, `invalid pattern in parameter "analyzer.exclude": "["`)
	b.host.Set(t, "analyzer.exclude", "")
	b.awaitConnected("goes")
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
	if err := unix.Kill(b.host.WorkerPid(t, "analyzer launcher"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.exec("", "DROP DATABASE "+b.prefix+"three") // nobody but the host sees to that
	b.create("four")
	b.host.AwaitLogs(t, `starting background worker process "analyzer launcher"`, 2)
	b.awaitConnected("one", "two", "four")
	for name, want := range map[string]int{"one": 1, "two": 1, "four": 1} {
		if n := b.countLog(b.started(name)); n != want || b.connected(name) != "1" {
			t.Errorf("%s has had %d workers", name, n)
		}
	}
}

func TestAShortageOfSlotsIsLoggedOnceAndEndsByItself(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("first")
	b.create("second")
	b.create("third")
	b.start("max_worker_processes=3") // the launcher's, and two
	b.awaitConnected("first", "second")
	warning := `WARNING:  no analyzer for database "` + b.prefix + `third": out of background worker slots`
	if r := b.host.AwaitLog(t, warning); r.Detail != "Databases without one: 1. They get theirs as soon as there is room." {
		t.Errorf("got %s", r)
	}
	b.exec("", "DROP DATABASE "+b.prefix+"first")
	b.awaitConnected("third")
	b.host.AwaitLog(t, "LOG:  every database has its analyzer again")
	if n := b.countLog(warning); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	b.create("fourth") // a shortage of its own
	b.host.AwaitLog(t, `WARNING:  no analyzer for database "`+b.prefix+`fourth"`)
}
