package launcher

import (
	"time"

	"github.com/pgexthost/pgexthost/plugins"
)

// LibraryName is the library's name in shared_preload_libraries.
const LibraryName = "analyzer"

const (
	launcherFunction = "analyzer_launcher_main"
	workerFunction   = "analyzer_worker_main"
)

// library holds the readers of its settings.
type library struct {
	naptime, minInterval, costDelay func() time.Duration
	include, exclude                func() string
}

// Library returns the library, to be the whole of a program of its own, or to be
// compiled into a host.
func Library() plugins.Library {
	var l library
	return plugins.Library{
		Name:      LibraryName,
		Init:      l.init,
		Functions: plugins.Functions{launcherFunction: l.launcherMain, workerFunction: l.workerMain},
	}
}

// init is _PG_init: it defines the settings and registers the launcher.
func (l *library) init(p *plugins.Init) error {
	l.naptime = p.DefineCustomDuration(plugins.DurationVariable{
		Name: "analyzer.naptime", Description: "Time between two looks at the databases, and at the tables of each.",
		Default: time.Minute, Min: 100 * time.Millisecond, Max: 24 * time.Hour,
	})
	l.minInterval = p.DefineCustomDuration(plugins.DurationVariable{
		Name: "analyzer.min_interval", Description: "Shortest time between two attempts to analyze a table.",
		Default: time.Hour, Max: 30 * 24 * time.Hour,
	})
	l.costDelay = p.DefineCustomDuration(plugins.DurationVariable{
		Name: "analyzer.cost_delay", Description: "The server's vacuum_cost_delay while a table is analyzed.",
		Default: 2 * time.Millisecond, Max: 100 * time.Millisecond,
	})
	l.include = p.DefineCustomString(plugins.StringVariable{
		Name: "analyzer.include", Description: "Patterns of the names of databases that have a worker.",
		Default: "*", Check: patternsOf("analyzer.include"),
	})
	l.exclude = p.DefineCustomString(plugins.StringVariable{
		Name: "analyzer.exclude", Description: "Patterns of the names of databases that have none, even if they are included.",
		Check: patternsOf("analyzer.exclude"),
	})
	p.MarkGUCPrefixReserved("analyzer")
	if !p.PreloadInProgress() {
		return nil
	}
	p.RegisterBackgroundWorker(plugins.BackgroundWorker{
		Name:         "analyzer launcher",
		Flags:        plugins.ShmemAccess | plugins.BackendDatabaseConnection,
		StartTime:    plugins.StartAtRecoveryFinished,
		RestartTime:  5,
		LibraryName:  LibraryName,
		FunctionName: launcherFunction,
	})
	return nil
}

// workerFor returns the registration of a database's worker.
func workerFor(d database) (plugins.BackgroundWorker, error) {
	extra, err := plugins.TextExtra(d.name) // Name keeps ASCII only
	return plugins.BackgroundWorker{
		Name:         "analyzer of " + d.name,
		Type:         "analyzer",
		Flags:        plugins.ShmemAccess | plugins.BackendDatabaseConnection | plugins.Interruptible,
		StartTime:    plugins.StartAtRecoveryFinished,
		RestartTime:  30,
		LibraryName:  LibraryName,
		FunctionName: workerFunction,
		MainArg:      int64(d.oid),
		Extra:        extra,
	}, err
}
