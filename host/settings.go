package host

import (
	"github.com/pgexthost/pgexthost/host/postmaster"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// readSettings reads the configuration file and the command line.
func (h *host) readSettings() error {
	reports, err := h.applyFiles()
	if err != nil {
		return err
	}
	var worst *elog.ErrorData
	for _, report := range reports {
		if report.Level < elog.Fatal {
			h.log.Emit(report)
			continue
		}
		if worst != nil {
			h.log.Emit(worst)
		}
		worst = report // Run logs the last one
	}
	if worst != nil {
		return worst
	}
	h.configureLog()
	if err := h.splitPreload(); err != nil {
		h.log.Emit(elog.AsErrorData(err, elog.Log)) // as PostgreSQL: then none is loaded
	}
	return nil
}

// applyFiles makes the settings of what there is at the start, and returns what
// is wrong with it.
func (h *host) applyFiles() ([]*elog.ErrorData, error) {
	h.store = guc.NewStore(settings.Definitions()...)
	conf, err := h.readFiles()
	if err != nil {
		return nil, err
	}
	return h.store.ApplyStartup(conf), nil
}

// splitPreload notes which libraries shared_preload_libraries names: none, if
// its syntax is wrong.
func (h *host) splitPreload() (err error) {
	h.preload, err = plugins.SplitLibraries(h.store.String(settings.SharedPreloadLibs), settings.SharedPreloadLibs)
	return err
}

// readFiles returns what the configuration files and the command line say.
func (h *host) readFiles() (guc.Config, error) {
	conf := settings.ReadFiles(h.dir.configFile())
	for _, option := range h.opts.Settings {
		item, err := guc.ParseOption(option)
		if err != nil {
			return guc.Config{}, err
		}
		conf.Items = append(conf.Items, item)
	}
	return conf, nil
}

func (h *host) configureLog() { settings.ConfigureLog(h.log, h.store) }

// reload reads the configuration file again, as SIGHUP asks for.
func (h *host) reload() {
	for _, report := range h.store.ApplyReload(settings.ReadFiles(h.dir.configFile())) {
		h.log.Emit(report)
	}
	h.configureLog()
	failpoint.Here(failpoint.ReloadRead)
	h.saveSettings()
	h.saveLibraries() // dynamic_library_path
}

// configured tells the core of the settings that it acts upon.
func (h *host) configured() postmaster.Event {
	return postmaster.Configured{
		WorkerStopTimeout: h.store.Duration(settings.WorkerStopTimeout),
		CrashScope:        postmaster.ParseCrashScope(h.store.Enum(settings.CrashScope)),
		RestartAfterCrash: h.store.Bool(settings.RestartAfterCrash),
	}
}

// personality is the PostgreSQL whose workers the host reproduces. It does not
// change while the host runs.
func (h *host) personality() plugins.Personality {
	return plugins.ParsePersonality(h.store.Enum(settings.CompatVersion))
}
