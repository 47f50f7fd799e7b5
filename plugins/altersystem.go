package plugins

import (
	"path/filepath"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// AlterSystem has pgexthost.auto.conf say a value for a setting, or none if value is
// nil; with an empty name, none for all. It takes effect as any change of the files
// does: when the host reads them again, or starts. Any process of the host may call
// it, from any goroutine; it waits for whoever is changing the file.
//
// Errors are *elog.ErrorData: 42704 if there is no such setting, 55P02 if no file
// can set it, 22023 if it refuses the value, F0000 if the file has a syntax error,
// or what the system says of the file. A setting of a library that this process has
// not loaded is not checked but by the host, which logs what it refuses. Mirrors
// AlterSystemSetConfigFile.
func (w *Worker) AlterSystem(name string, value *string) error {
	if w.settings.configFile == "" {
		return elog.New(elog.Error, elog.ObjectNotInPrerequisite, "cannot change the configuration file of a worker without a host")
	}
	a := guc.Alteration{Name: name, Value: value}
	if err := w.settings.store.CheckAlteration(a); err != nil {
		return err
	}
	return guc.Alter(filepath.Join(filepath.Dir(w.settings.configFile), settings.AutoConfigFileName), a)
}
