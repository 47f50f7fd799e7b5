package plugins

import (
	"fmt"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// loader loads libraries into this process, each at most once: finding them
// and running their Init. One goroutine uses it.
type loader struct {
	path     libraryPath
	settings *ownSettings
	log      *elog.Logger
	preload  *registrations // not nil in the preload child only
	loaded   map[string]Library
	inits    map[string]*Init
}

func newLoader(path libraryPath, s *ownSettings, log *elog.Logger) *loader {
	return &loader{path: path, settings: s, log: log, loaded: make(map[string]Library), inits: make(map[string]*Init)}
}

// load returns the library of that name after its Init has run. Mirrors
// load_file of dfmgr.c.
func (l *loader) load(name string) (Library, error) { return l.loadAs(name, false) }

// loadAs is load; preloading says that shared_preload_libraries asks for it.
func (l *loader) loadAs(name string, preloading bool) (Library, error) {
	if lib, ok := l.loaded[name]; ok {
		return lib, nil
	}
	lib, err := l.path.find(name)
	if err != nil {
		return Library{}, err
	}
	if lib.Init != nil && l.inits[lib.Name] == nil {
		p := &Init{library: lib.Name, preloading: preloading, collect: l.preload, settings: l.settings, log: l.log}
		l.inits[lib.Name] = p
		if err := p.run(lib.Init); err != nil {
			delete(l.inits, lib.Name)
			return Library{}, err
		}
	}
	l.loaded[name] = lib
	l.log.Logf(elog.Debug1, "loaded library \"%s\"", name)
	return lib, nil
}

// run calls a library's Init, on a goroutine of its own so that nothing it does
// but ending the process can keep us from going on, and turns a panic of it
// into an error.
func (p *Init) run(init func(*Init) error) error {
	result := make(chan error, 1)
	go func() {
		err := fmt.Errorf("it called runtime.Goexit")
		defer func() {
			p.closed.Store(true)
			switch cause := recover().(type) {
			case nil:
				if err != nil {
					err = fmt.Errorf("could not initialize library %q: %w", p.library, err)
				}
			case initError:
				err = fmt.Errorf("could not initialize library %q: %w", p.library, cause.err)
			default:
				err = panicked(fmt.Sprintf("library \"%s\" panicked in its Init", p.library), cause)
			}
			result <- err
		}()
		err = init(p)
	}()
	return <-result
}
