package plugins

import (
	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// ownSettings are the settings of this process: those of the host as the
// postmaster had them when it started the process, and those of the libraries
// it has loaded.
type ownSettings struct {
	store      *guc.Store
	configFile string
	read       func() guc.Config // of a process without a host, instead of configFile
	log        *elog.Logger
}

// reload reads the files again. What is wrong with them is the postmaster's to
// tell: it reads the same files, and the children's reports have level DEBUG2,
// but for what only they can know.
func (s *ownSettings) reload() {
	if s.read != nil {
		s.apply(s.read())
		return
	}
	s.apply(settings.ReadFiles(s.configFile))
}

func (s *ownSettings) apply(conf guc.Config) {
	for _, report := range s.store.ApplyReload(conf) {
		s.log.Emit(report)
	}
	settings.ConfigureLog(s.log, s.store)
}
