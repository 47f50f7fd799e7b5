package plugins

import (
	"fmt"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// loader loads libraries into this process, each at most once: it runs their
// Init. Where they are the host has found out before. One goroutine uses it.
type loader struct {
	asked    handshake.Library // what the host has found under the name it was asked for
	settings *ownSettings
	log      *elog.Logger
	preload  *registrations // not nil in the preload child only
	loaded   map[string]Library
	inits    map[string]*Init
}

func newLoader(asked *handshake.Library, s *ownSettings, log *elog.Logger) *loader {
	if asked == nil {
		asked = &handshake.Library{}
	}
	return &loader{asked: *asked, settings: s, log: log, loaded: make(map[string]Library), inits: make(map[string]*Init)}
}

// load returns the library of that name after its Init has run. Mirrors
// load_file of dfmgr.c.
func (l *loader) load(name string) (Library, error) { return l.loadAs(name, false) }

// loadAs is load; preloading says that shared_preload_libraries asks for it.
func (l *loader) loadAs(name string, preloading bool) (Library, error) {
	if lib, ok := l.loaded[name]; ok {
		return lib, nil
	}
	lib, err := l.find(name)
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

// find returns the library of that name, if it is a part of this program.
func (l *loader) find(name string) (Library, error) {
	lib, ok := registeredLibrary(name)
	if l.asked.Name == name {
		switch {
		case l.asked.Error != nil:
			return Library{}, l.asked.Error
		case l.asked.File != "":
			lib, ok = programLibrary()
		case l.asked.CompiledIn != "":
			lib, ok = registeredLibrary(l.asked.CompiledIn)
		}
	}
	if !ok {
		return Library{}, elog.New(elog.Error, elog.UndefinedFile, "could not access file \"%s\": %s", name, "it is not a part of this program")
	}
	return lib, nil
}

// initPanic is the error of an Init that has panicked.
type initPanic struct{ *elog.ErrorData }

func (e initPanic) Unwrap() error { return e.ErrorData }

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
				err = initPanic{panicked(fmt.Sprintf("library \"%s\" panicked in its Init", p.library), cause)}
			}
			result <- err
		}()
		err = init(p)
	}()
	return <-result
}
