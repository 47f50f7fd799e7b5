package pluginstest

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/internal/standalone"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Options say how a worker is run. The zero value is that of a worker that the
// library registers itself, without a server.
type Options struct {
	// Server is the database that server_conninfo leads to, or nil.
	Server *Postgres
	// Settings are what the configuration file has: settings of the library, and of
	// the host, such as log_min_messages.
	Settings map[string]string
	// Registration describes the worker. What it leaves out comes from the worker of
	// that name that Init registers, or else from the first one in the same function,
	// or else is ShmemAccess, BackendDatabaseConnection and NeverRestart. LibraryName
	// and FunctionName need not be given.
	Registration plugins.BackgroundWorker
}

// Start runs the Init of a library, as if shared_preload_libraries named it, and
// then the worker's main function in a goroutine. It fails the test if there is no
// such function, if the Init or the registration is refused, or if Settings has one
// that the library does not define. At the end of the test the worker gets SIGTERM,
// if it still runs, and the test fails if that does not end it.
func Start(t testing.TB, library plugins.Library, function string, o Options) *Worker {
	t.Helper()
	w := &Worker{
		conf: newConfiguration(o), watch: standalone.NewWatch(),
		log: newLogBook(t, function),
	}
	if o.Registration.Name != "" {
		w.log.name = o.Registration.Name
	}
	process, err := standalone.Start(standalone.Config{
		Library: library, Function: function, Registration: o.Registration,
		Conf: w.conf.read, Log: w.log, Watch: w.watch,
	})
	if err != nil {
		w.log.close()
		t.Fatalf("could not start worker \"%s\": %s", function, explain(err))
	}
	w.process = process
	t.Cleanup(func() { w.stop(t) })
	for _, name := range slices.Sorted(maps.Keys(o.Settings)) {
		w.demandSetting(t, name)
	}
	return w
}

// explain returns an error with its DETAIL and HINT.
func explain(err error) string {
	e := elog.AsErrorData(err, elog.Error)
	return Record{Level: e.Level, Message: e.Message + " (SQLSTATE " + string(e.Code) + ")", Detail: e.Detail, Hint: e.Hint}.String()
}

// configuration stands for the configuration file. It is safe for concurrent use.
type configuration struct {
	mu     sync.Mutex
	values map[string]string
}

func newConfiguration(o Options) *configuration {
	c := &configuration{values: make(map[string]string)}
	if o.Server != nil {
		c.values[settings.ServerConninfo] = o.Server.Conninfo()
	}
	for name, value := range o.Settings {
		c.set(name, value)
	}
	return c
}

// set replaces the value of a setting. As in a file, its name is the same in any
// case.

func (c *configuration) set(name, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[strings.ToLower(name)] = value
}

// read returns what reading the file would.
func (c *configuration) read() guc.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	const file = "pluginstest.Options"
	conf := guc.Config{File: file}
	for i, name := range slices.Sorted(maps.Keys(c.values)) {
		conf.Items = append(conf.Items, guc.Item{Name: name, Value: c.values[name], File: file, Line: i + 1, Source: guc.SourceFile})
	}
	return conf
}

// demandSetting fails the test if nobody has defined a setting: it is misspelled.
func (w *Worker) demandSetting(t testing.TB, name string) {
	t.Helper()
	if w.process.Undefined(name) {
		t.Fatalf("neither the host nor the library has a setting \"%s\"", name)
	}
}
