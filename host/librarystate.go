package host

import (
	"path/filepath"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins"
)

// saveLibraries writes what the host knows of libraries to a file, for "plugin
// list" and those who wait for a reload.
func (h *host) saveLibraries() {
	known := control.Libraries{
		Search: h.store.String(settings.DynamicLibraryPath), Libdir: libdir(), CompiledIn: plugins.Libraries(), Reload: h.reloaded,
	}
	for _, l := range h.libraries {
		known.Preloaded = append(known.Preloaded, l.describe())
	}
	for _, a := range h.machine.Announced() {
		known.Announced = append(known.Announced, control.AnnouncedWorker{Number: a.Number, Worker: a.Worker.Descriptor()})
	}
	h.announced = len(known.Announced)
	h.saveState(h.librariesFile(), known)
}

// noteRegistrations saves which new static workers are still to be registered. Who
// does that may die, and another must not do it again.
func (h *host) noteRegistrations() {
	if len(h.machine.Announced()) != h.announced {
		h.saveLibraries()
	}
}

func (h *host) librariesFile() string { return filepath.Join(h.dir.path, control.LibrariesFileName) }

// describe is what others are told of a library.
func (l *loadedLibrary) describe() control.Library {
	d := control.Library{
		Name: l.name, Build: l.found.build(), Identity: l.found.identity, LoadedAt: l.loadedAt, Functions: l.functions,
	}
	for _, w := range l.static {
		d.Workers = append(d.Workers, w.Name)
	}
	for _, s := range l.settings.Definitions {
		d.Settings = append(d.Settings, s.Name)
	}
	if l.leftOut != nil {
		reason := *l.leftOut
		reason.Cause = nil // for this process only
		d.LeftOut = &reason
	}
	return d
}
