package settings

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/limits"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/shmem"
)

// Names of the settings, for those who read them.
const (
	AllowBypassAllowConn = "allow_bypass_allowconn"
	ExtensionControlPath = "extension_control_path"

	ClusterName        = "cluster_name"
	CompatVersion      = "compat_version"
	CrashScope         = "crash_scope"
	DynamicLibraryPath = "dynamic_library_path"
	ExternalPidFile    = "external_pid_file"
	LauncherDatabases  = "launcher_databases"
	LauncherHistory    = "launcher_history"
	LibraryInitTimeout = "library_init_timeout"
	LibraryLimits      = "library_limits"
	LogDestination     = "log_destination"
	LogLinePrefix      = "log_line_prefix"
	LogMinMessages     = "log_min_messages"
	MaxParallelWorkers = "max_parallel_workers"
	MaxWorkerProcesses = "max_worker_processes"
	MetricsAddress     = "metrics_address"
	PostAuthDelay      = "post_auth_delay"
	RestartAfterCrash  = "restart_after_crash"
	ServerConninfo     = "server_conninfo"
	SharedPreloadLibs  = "shared_preload_libraries"
	WorkerStopTimeout  = "worker_stop_timeout"
)

// MaxParallelWorkerLimit is the upper bound of max_parallel_workers. Mirrors
// MAX_PARALLEL_WORKER_LIMIT.
const MaxParallelWorkerLimit = 1024

// Definitions returns the settings of the host, in alphabetical order. The
// caller owns the slice.
func Definitions() []guc.Definition {
	all := slices.Concat(hostDefinitions(), libraryDefinitions(), launcherDefinitions(), gatewayDefinitions())
	slices.SortFunc(all, func(a, b guc.Definition) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// launcherDefinitions are the settings for requests from SQL.
func launcherDefinitions() []guc.Definition {
	return []guc.Definition{
		{
			Name: ExtensionControlPath, Type: guc.TypeString, Context: guc.Sighup, Default: "$system",
			ShortDesc: "Where \"pgexthost extension\" looks for the scripts of plugins.",
			LongDesc:  "Absolute directories separated by colons, of whose subdirectories \"extension\" each is searched; $system is what comes with pgexthost.",
		},
		{
			Name: LauncherDatabases, Type: guc.TypeString, Context: guc.Sighup, Default: "", Flags: guc.FlagListInput,
			ShortDesc: "Databases whose requests for workers the host fulfils, separated by commas.",
			LongDesc:  "Each needs the schema pgexthost, which \"pgexthost extension install\" makes, and costs one connection.",
		},
		{
			Name: LauncherHistory, Type: guc.TypeInt, Context: guc.Sighup, Unit: guc.UnitMin, Default: "7d", Max: math.MaxInt32,
			ShortDesc: "How long requests are remembered that are done with; 0 is for ever.",
		},
	}
}

// libraryDefinitions are the settings about libraries.
func libraryDefinitions() []guc.Definition {
	return []guc.Definition{
		{
			Name: DynamicLibraryPath, Type: guc.TypeString, Context: guc.Sighup, Default: "$libdir",
			ShortDesc: "Where to look for libraries that are named without a slash.",
		},
		{
			Name: LibraryInitTimeout, Type: guc.TypeInt, Context: guc.Sighup, Unit: guc.UnitMS, Default: "30s", Max: math.MaxInt32,
			ShortDesc: "How long the host waits for the Init of a library before it goes on without it; 0 is for ever.",
		},
		{
			Name: LibraryLimits, Type: guc.TypeString, Context: guc.Sighup, Default: "",
			ShortDesc: "What the processes of a library may use: LIBRARY: LIMIT ...; LIBRARY: LIMIT ...",
			LongDesc:  "The limits are memory, files, nice, no_new_privileges, directory and env.NAME; * stands for all other libraries. They hold from a process's start.",
			CheckHook: func(v guc.Value) error {
				_, err := limits.Parse(v.String())
				return err
			},
		},
		{
			Name: SharedPreloadLibs, Type: guc.TypeString, Context: guc.Postmaster, Default: "",
			ShortDesc: "Libraries whose Init runs when the host starts, separated by commas.",
		},
	}
}

func hostDefinitions() []guc.Definition {
	return []guc.Definition{
		{
			// Sighup: an administrator opens a database for a while, and workers
			// look at it only when they connect.
			Name: AllowBypassAllowConn, Type: guc.TypeBool, Context: guc.Sighup, Default: "off",
			ShortDesc: "Whether workers may connect to databases that do not accept connections.",
			LongDesc:  "Such a database is open to superusers, and to them only, while a worker connects. The host must log in as a superuser.",
		},
		{
			Name: ClusterName, Type: guc.TypeString, Context: guc.Postmaster, Default: "", CheckHook: checkClusterName,
			ShortDesc: "The name of the host, which is part of its processes' titles.",
		},
		{
			Name: CompatVersion, Type: guc.TypeEnum, Context: guc.Postmaster, Default: "18", EnumOptions: []string{"12", "13", "18"},
			ShortDesc: "The version of PostgreSQL whose background workers the host reproduces.",
			LongDesc:  "12 and 13 allow workers without shared memory, and library names of 95 bytes at most.",
		},
		{
			Name: CrashScope, Type: guc.TypeEnum, Context: guc.Sighup, Default: "auto", EnumOptions: []string{"auto", "cluster", "worker"},
			ShortDesc: "How far the crash of one worker reaches.",
			LongDesc:  "cluster is PostgreSQL's: all processes end, shared memory is made anew. auto does that only if the crash may have harmed shared memory, worker never.",
		},
		{
			Name: ExternalPidFile, Type: guc.TypeString, Context: guc.Postmaster, Default: "",
			ShortDesc: "A file to write the postmaster's process id to, beside postmaster.pid.",
		},
		{
			Name: LogDestination, Type: guc.TypeString, Context: guc.Sighup, Default: "stderr", Flags: guc.FlagListInput,
			ShortDesc: "The forms of the log, separated by commas: stderr, jsonlog.",
			LongDesc:  "Both go to standard error.",
			CheckHook: func(v guc.Value) error {
				_, err := elog.ParseDestinations(v.String())
				return err
			},
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
			Name: MaxParallelWorkers, Type: guc.TypeInt, Context: guc.Sighup, Default: "8", Max: MaxParallelWorkerLimit,
			ShortDesc: "How many workers of the parallel class may be registered at a time.",
		},
		{
			Name: MaxWorkerProcesses, Type: guc.TypeInt, Context: guc.Postmaster, Default: "8", Max: shmem.MaxSlots,
			ShortDesc: "How many background workers may be registered at a time.",
		},
		{
			Name: MetricsAddress, Type: guc.TypeString, Context: guc.Sighup, Default: "",
			ShortDesc: "Where the host serves /metrics, /livez and /readyz over TCP: HOST:PORT, or empty for the control socket only.",
			LongDesc:  "There is neither encryption nor authentication; nothing else is served there, and nothing that changes anything.",
			CheckHook: func(v guc.Value) error {
				_, err := ParseMetricsAddress(v.String())
				return err
			},
		},
		{
			Name: PostAuthDelay, Type: guc.TypeInt, Context: guc.Backend, Unit: guc.UnitS, Default: "0", Max: math.MaxInt32 / 1_000_000,
			ShortDesc: "How long each worker waits at its start, for a debugger to be attached.",
		},
		{
			Name: RestartAfterCrash, Type: guc.TypeBool, Context: guc.Sighup, Default: "on",
			ShortDesc: "Whether the host begins anew after a crash that reached all its processes, or ends.",
		},
		{
			Name: ServerConninfo, Type: guc.TypeString, Context: guc.Sighup, Default: "", Flags: guc.FlagSecret,
			ShortDesc: "How to reach the PostgreSQL server: a libpq connection string or URI.",
			LongDesc:  "What it leaves out is taken from PG* variables, the service file and the password file.",
		},
		{
			Name: WorkerStopTimeout, Type: guc.TypeInt, Context: guc.Sighup, Unit: guc.UnitS, Default: "0", Max: math.MaxInt32,
			ShortDesc: "How long a smart or fast shutdown waits for workers before it kills them; 0 is for ever.",
		},
	}
}

// longestClusterName is NAMEDATALEN - 1.
const longestClusterName = 63

// checkClusterName refuses what would not fit a process title, or break it.
// PostgreSQL truncates, and replaces by question marks.
func checkClusterName(v guc.Value) error {
	name := v.String()
	if len(name) > longestClusterName {
		return fmt.Errorf("The name is longer than %d bytes.", longestClusterName) //nolint:staticcheck // the text of a DETAIL
	}
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' {
			return errors.New("The name must consist of printable ASCII characters.") //nolint:staticcheck // the text of a DETAIL
		}
	}
	return nil
}

// The files of settings in a data directory.
const (
	ConfigFileName     = "pgexthost.conf"
	AutoConfigFileName = "pgexthost.auto.conf"
)

// BegunDir is the directory, within a data directory that has one, in which a held
// worker leaves a file with the name of its handle just before its main function.
const BegunDir = "requests_begun"

// ReadFiles reads the configuration file and, where there is one, the file
// beside it that overrides it. Mirrors the reading of postgresql.conf and
// postgresql.auto.conf.
func ReadFiles(configFile string) guc.Config {
	return guc.ParseFile(configFile, filepath.Join(filepath.Dir(configFile), AutoConfigFileName))
}

// ConfigureLog makes a log what the settings say.
func ConfigureLog(log *elog.Logger, store *guc.Store) {
	threshold, _ := elog.ParseLevel(store.Enum(LogMinMessages)) // both have been checked
	to, _ := elog.ParseDestinations(store.String(LogDestination))
	log.Configure(store.String(LogLinePrefix), threshold, to)
}
