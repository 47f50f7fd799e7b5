package plugins

import (
	"bytes"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Process is a process that has loaded a library, for examples and tests.
type Process struct {
	worker *Worker
	log    bytes.Buffer
	init   *Init
}

// Load runs a library's Init as a worker process does, with the text of a
// configuration file.
func Load(conf string, init func(*Init) error) (*Process, error) {
	return load(conf, init, nil)
}

// LoadPreloading is Load as the preload child does it.
func LoadPreloading(conf string, init func(*Init) error) (*Process, error) {
	return load(conf, init, &registrations{})
}

func load(conf string, init func(*Init) error, collect *registrations) (*Process, error) {
	p := &Process{}
	log := elog.NewLogger(&p.log)
	store, _ := guc.NewChildStore(guc.ParseBytes("pgexthost.conf", []byte(conf)).Items, settings.Definitions()...)
	if err := store.Override(settings.LogLinePrefix, ""); err != nil {
		return nil, err
	}
	settings.ConfigureLog(log, store)
	own := &ownSettings{store: store, log: log}
	p.worker = &Worker{settings: own, log: log}
	p.init = &Init{library: "example", preloading: true, collect: collect, settings: own, log: log}
	return p, p.init.run(init)
}

// Show is Worker.ShowSetting.
func (p *Process) Show(name string) string {
	text, err := p.worker.ShowSetting(name)
	if err != nil {
		return err.Error()
	}
	return text
}

// Reload is Worker.ProcessConfigFile with that text in the file. It returns
// what that has logged.
func (p *Process) Reload(conf string) string {
	p.log.Reset()
	p.init.settings.apply(guc.ParseBytes("pgexthost.conf", []byte(conf)))
	return p.log.String()
}

// Log returns what the Init has logged.
func (p *Process) Log() string { return p.log.String() }
