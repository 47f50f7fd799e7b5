package settings

import (
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Names of the settings, for those who read them.
const (
	DynamicLibraryPath = "dynamic_library_path"
	LogLinePrefix      = "log_line_prefix"
	LogMinMessages     = "log_min_messages"
	MaxParallelWorkers = "max_parallel_workers"
	MaxWorkerProcesses = "max_worker_processes"
	ServerConninfo     = "server_conninfo"
	SharedPreloadLibs  = "shared_preload_libraries"
)

// Definitions returns the settings of the host, in alphabetical order. The
// caller owns the slice.
func Definitions() []guc.Definition {
	return []guc.Definition{
		{
			Name: DynamicLibraryPath, Type: guc.TypeString, Context: guc.Sighup, Default: "$libdir",
			ShortDesc: "Where to look for libraries that are named without a slash.",
		},
		{
			Name: LogLinePrefix, Type: guc.TypeString, Context: guc.Sighup, Default: elog.DefaultLinePrefix,
			ShortDesc: "What every log line starts with; %-escapes as in postgresql.conf.",
		},
		{
			Name: LogMinMessages, Type: guc.TypeEnum, Context: guc.Sighup, Default: "warning", EnumOptions: elog.LevelNames(),
			EnumAliases: map[string]string{"debug": "debug2"},
			ShortDesc:   "The least important messages that are logged.",
		},
		{
			Name: MaxParallelWorkers, Type: guc.TypeInt, Context: guc.Sighup, Default: "8", Max: 1024,
			ShortDesc: "How many workers of the parallel class may be registered at a time.",
		},
		{
			Name: MaxWorkerProcesses, Type: guc.TypeInt, Context: guc.Postmaster, Default: "8", Max: shmem.MaxSlots,
			ShortDesc: "How many background workers may be registered at a time.",
		},
		{
			Name: ServerConninfo, Type: guc.TypeString, Context: guc.Sighup, Default: "", Flags: guc.FlagSecret,
			ShortDesc: "How to reach the PostgreSQL server: a libpq connection string or URI.",
			LongDesc:  "What it leaves out is taken from PG* variables, the service file and the password file.",
		},
		{
			Name: SharedPreloadLibs, Type: guc.TypeString, Context: guc.Postmaster, Default: "",
			ShortDesc: "Libraries whose Init runs when the host starts, separated by commas.",
		},
	}
}
