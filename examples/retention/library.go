package main

import (
	"time"

	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

const (
	libraryName  = "retention"
	mainFunction = "retention_main"
)

// settings are the readers of the library's settings. All but database change
// with a reload.
type settings struct {
	naptime     func() time.Duration
	role        func() string
	lockTimeout func() time.Duration
	holdTimeout func() time.Duration
	batch       func() int
	logKeep     func() time.Duration
	dryRun      func() bool

	restartTime int                    // of the workers, in seconds
	before      func(sql string) error // see statements; nil but in tests
}

// library returns what pgexthost loads: settings, one static worker for each
// database of retention.database, and the function they start in.
func library() plugins.Library {
	return (&settings{restartTime: 10}).library()
}

func (s *settings) library() plugins.Library {
	return plugins.Library{
		Name:      libraryName,
		Init:      s.init,
		Functions: plugins.Functions{mainFunction: s.main},
	}
}

// init is _PG_init.
func (s *settings) init(p *plugins.Init) error {
	s.define(p)
	if !p.PreloadInProgress() {
		return nil
	}
	databases := p.DefineCustomString(plugins.StringVariable{
		Name:        "retention.database",
		Description: "Databases whose tables to look after, separated by commas.",
		Default:     "postgres",
		Context:     plugins.PGCPostmaster,
		Check: func(list string) error {
			_, err := plugins.SplitLibraries(list, "retention.database")
			return err
		},
	})
	p.MarkGUCPrefixReserved("retention")

	names, err := plugins.SplitLibraries(databases(), "retention.database")
	if err != nil {
		return err
	}
	for _, name := range names {
		w, err := s.worker(name)
		if err != nil {
			return err
		}
		p.RegisterBackgroundWorker(w)
	}
	return nil
}

// define defines the settings that every process of the library has.
func (s *settings) define(p *plugins.Init) {
	s.naptime = p.DefineCustomDuration(plugins.DurationVariable{
		Name: "retention.naptime", Description: "Time between two rounds.",
		Default: 5 * time.Minute, Min: time.Second, Max: 24 * time.Hour,
		Unit: time.Second,
	})
	s.role = p.DefineCustomString(plugins.StringVariable{
		Name: "retention.role", Description: "Role to work as: the owner of the tables, or a member of their owners.",
	})
	// Below the default of deadlock_timeout: in whatever embrace a wait ends, it
	// is this side that gives up, before the server picks the application.
	s.lockTimeout = p.DefineCustomDuration(plugins.DurationVariable{
		Name: "retention.lock_timeout", Description: "Longest wait for a lock, behind which an application may have to wait as well.",
		Default: 500 * time.Millisecond, Min: time.Millisecond, Max: time.Hour,
	})
	s.holdTimeout = p.DefineCustomDuration(plugins.DurationVariable{
		Name: "retention.hold_timeout", Description: "Longest time for a statement that holds a lock for which applications may wait.",
		Default: 5 * time.Second, Min: 10 * time.Millisecond, Max: time.Hour,
	})
	s.batch = p.DefineCustomInt(plugins.IntVariable{
		Name: "retention.batch", Description: "Most partitions of one table to create, and to retire, in one round.",
		Default: 100, Min: 1, Max: 10000,
	})
	s.logKeep = p.DefineCustomDuration(plugins.DurationVariable{
		Name: "retention.log_keep", Description: "How long to keep the rows of retention.log.",
		Default: 90 * 24 * time.Hour, Min: time.Minute, Max: 20000 * 24 * time.Hour,
		Unit: time.Minute,
	})
	s.dryRun = p.DefineCustomBool(plugins.BoolVariable{
		Name: "retention.dry_run", Description: "Only says what there is to do, for all policies.",
	})
}

// worker describes the worker of one database. An empty name is the maintenance
// database of the host. It returns an error for a name that no database can have.
func (s *settings) worker(database string) (plugins.BackgroundWorker, error) {
	extra, err := plugins.TextExtra(database)
	if err != nil || len(database) >= plugins.NameDataLen {
		return plugins.BackgroundWorker{}, elog.New(elog.Error, elog.InvalidParameterValue,
			"database name \"%s\" in parameter \"%s\" is too long", database, "retention.database").WithCause(err)
	}
	return plugins.BackgroundWorker{
		Name:         "retention " + database,
		Type:         "retention",
		Flags:        plugins.ShmemAccess | plugins.BackendDatabaseConnection | plugins.Interruptible,
		StartTime:    plugins.StartAtRecoveryFinished,
		RestartTime:  s.restartTime,
		LibraryName:  libraryName,
		FunctionName: mainFunction,
		Extra:        extra,
	}, nil
}
