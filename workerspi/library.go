package workerspi

import (
	"fmt"
	"math"

	"github.com/pgexthost/pgexthost/plugins"
)

// LibraryName is the library's name in shared_preload_libraries.
const LibraryName = "worker_spi"

const mainFunction = "worker_spi_main"

// library holds the readers of its settings.
type library struct {
	naptime  func() int
	database func() string
	role     func() string
}

// Library returns the library, to be compiled into a host or to be the whole of
// a program of its own.
func Library() plugins.Library {
	var l library
	return plugins.Library{
		Name:      LibraryName,
		Init:      l.init,
		Functions: plugins.Functions{mainFunction: l.main},
	}
}

// init is _PG_init: it defines the settings and registers the static workers.
func (l *library) init(p *plugins.Init) error {
	l.naptime = p.DefineCustomInt(plugins.IntVariable{
		Name:        "worker_spi.naptime",
		Description: "Duration between each check (in seconds).",
		Default:     10, Min: 1, Max: math.MaxInt32,
	})
	l.database = p.DefineCustomString(plugins.StringVariable{
		Name:        "worker_spi.database",
		Description: "Database to connect to.",
		Default:     "postgres",
	})
	l.role = p.DefineCustomString(plugins.StringVariable{
		Name:        "worker_spi.role",
		Description: "Role to connect with.",
	})
	if !p.PreloadInProgress() {
		return nil
	}
	totalWorkers := p.DefineCustomInt(plugins.IntVariable{
		Name:        "worker_spi.total_workers",
		Description: "Number of workers.",
		Default:     2, Min: 1, Max: 100,
		Context: plugins.PGCPostmaster,
	})
	p.MarkGUCPrefixReserved("worker_spi")

	for i := 1; i <= totalWorkers(); i++ {
		p.RegisterBackgroundWorker(staticWorker(i))
	}
	return nil
}

func staticWorker(index int) plugins.BackgroundWorker {
	w := template(index)
	w.Name, w.Type = fmt.Sprintf("worker_spi worker %d", index), "worker_spi"
	return w
}

// DynamicWorker returns the registration of a worker at run time, as
// worker_spi_launch makes it: with a table of its own per index, and a database
// and role that may differ from the settings'.
func DynamicWorker(index int, extra Extra) plugins.BackgroundWorker {
	w := template(index)
	w.Name, w.Type = fmt.Sprintf("worker_spi dynamic worker %d", index), "worker_spi dynamic"
	w.Extra = extra.Encode()
	return w
}

// template is what all workers of the library have in common.
func template(index int) plugins.BackgroundWorker {
	return plugins.BackgroundWorker{
		Flags:        plugins.ShmemAccess | plugins.BackendDatabaseConnection,
		StartTime:    plugins.StartAtRecoveryFinished,
		RestartTime:  plugins.NeverRestart,
		LibraryName:  LibraryName,
		FunctionName: mainFunction,
		MainArg:      int64(index),
	}
}
