package host

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// settingsFileName is the file in which a running host keeps the settings it
// runs with, for "config show". PostgreSQL's EXEC_BACKEND builds keep one of
// that name for their children.
const settingsFileName = "config_exec_params"

// Setting is one setting of a host: what a row of pg_settings says.
type Setting struct {
	Name           string `json:"name"`
	Value          string `json:"value"`   // with its unit, as SHOW prints it
	Default        string `json:"default"` // likewise
	Type           string `json:"type"`    // bool, integer, real, string or enum
	Context        string `json:"context"` // internal, postmaster, sighup, superuser-backend, backend, superuser or user
	Source         string `json:"source"`  // default, configuration file, command line or override
	File           string `json:"file,omitempty"`
	Line           int    `json:"line,omitempty"`
	PendingRestart bool   `json:"pending_restart"` // the files say otherwise, and only a restart makes it so
	Undefined      bool   `json:"undefined"`       // no library that is loaded defines it
	Hidden         bool   `json:"hidden"`          // the value is left out, because it may hold a password
	Description    string `json:"description"`

	Definition *guc.Definition `json:"definition,omitempty"` // of a library's setting, for the gateway
	Reserved   bool            `json:"reserved,omitempty"`   // likewise: others with its prefix can't be set
}

// describe translates the settings of a store, in the order of their names.
func describe(store *guc.Store) []Setting {
	var all []Setting
	for _, s := range store.Settings() {
		d := s.Definition
		set := Setting{
			Name: d.Name, Value: s.Show(), Default: s.Default.Show(), Type: d.Type.String(), Context: d.Context.String(),
			Source: s.Source.String(), File: s.File, Line: s.Line, PendingRestart: s.PendingRestart, Undefined: s.Placeholder,
			Description: d.ShortDesc,
		}
		if d.Flags&guc.FlagSecret != 0 && s.Value != s.Default {
			set.Value, set.Hidden = "", true
		}
		if strings.Contains(d.Name, ".") && !s.Placeholder {
			set.Definition, set.Reserved = &d, store.IsReserved(d.Name)
		}
		all = append(all, set)
	}
	return all
}

// saveSettings writes the settings in force to a file, as a whole or not at
// all. A failure is reported, and the host goes on: nothing of its own depends
// on the file. Mirrors write_nondefault_variables.
func (h *host) saveSettings() {
	h.saveState(h.settingsFile(), describe(h.store))
}

// saveState writes a file for those who ask what a host runs with.
func (h *host) saveState(path string, state any) {
	if !h.dir.isOurs() {
		return // the lock file's check says so, and ends the host
	}
	text, err := json.MarshalIndent(state, "", "\t")
	if err == nil {
		err = lockfile.ReplaceFile(path, append(text, '\n'))
	}
	if err != nil {
		h.log.Emit(elog.New(elog.Log, elog.FileAccessCode(err), "could not write to file \"%s\": %s", path, elog.OSReason(err)))
		_ = os.Remove(path) // no news is better than old news
	}
}

func (h *host) settingsFile() string { return filepath.Join(h.dir.path, settingsFileName) }

// RunningSettings returns the settings that the host of a data directory runs
// with. The error, an *elog.ErrorData, says that they could not be read.
func RunningSettings(dataDir string) ([]Setting, error) {
	path := filepath.Join(dataDir, settingsFileName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, elog.New(elog.Error, elog.FileAccessCode(err), "could not read file \"%s\": %s", path, elog.OSReason(err)).WithCause(err)
	}
	var all []Setting
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, elog.New(elog.Error, elog.InternalError, "invalid data in file \"%s\": %v", path, err).WithCause(err)
	}
	return all, nil
}
