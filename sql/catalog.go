package sql

import (
	"cmp"
	"embed"
	"io/fs"
	"slices"
	"strings"

	"github.com/pgexthost/pgexthost/plugins/elog"
)

// SchemaExtension is the name of the extension that is schema pgexthost itself,
// on which all others depend.
const SchemaExtension = "pgexthost"

//go:embed scripts
var embedded embed.FS

// Catalog is what extensions there are: directories of scripts and control files,
// searched in order. What the first of them that has an extension has of it, is all
// there is of it. It reads the directories anew at each call.
type Catalog struct {
	schema  source // where SchemaExtension is: the launcher can serve no other
	sources []source
}

// Scripts returns the catalog of the scripts that this program has.
func Scripts() Catalog {
	own := ownSource()
	return Catalog{own, []source{own}}
}

// NewCatalog returns the catalog of one directory of scripts.
func NewCatalog(scripts fs.FS) Catalog {
	s := source{files: scripts}
	return Catalog{s, []source{s}}
}

// Available is an extension that there is.
type Available struct {
	Name     string
	Version  string // the one that is installed, or upgraded to; empty if there is no script
	Comment  string
	Location string // "$system", or its directory. Mirrors pg_available_extensions.location
}

// Available returns the extensions that there are, in alphabetical order. Errors
// are *elog.ErrorData: a directory that can't be read, a control file that is
// wrong. A directory that does not exist is no error.
func (c Catalog) Available() ([]Available, error) {
	var all []Available
	known := make(map[string]bool)
	add := func(s source, name string) error {
		e, err := s.find(name)
		if err != nil || e == nil || known[name] {
			return err
		}
		known[name] = true
		all = append(all, Available{name, e.version(), e.control.comment, s.location()})
		return nil
	}
	if err := add(c.schema, SchemaExtension); err != nil {
		return nil, err
	}
	for _, s := range c.sources {
		names, err := s.names()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if name == SchemaExtension {
				continue
			}
			if err := add(s, name); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(all, func(a, b Available) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Version returns the version of an extension that is installed, or upgraded to.
// Errors are *elog.ErrorData: 22023 for what can be no name, 0A000 if there is no
// such extension, or those of [Catalog.Available].
func (c Catalog) Version(name string) (string, error) {
	e, err := c.find(name)
	if err != nil {
		return "", err
	}
	return e.version(), nil
}

// find returns an extension.
func (c Catalog) find(name string) (*extension, error) {
	if err := checkExtensionName(name); err != nil {
		return nil, err
	}
	sources := c.sources
	if name == SchemaExtension {
		sources = []source{c.schema}
	}
	for _, s := range sources {
		if e, err := s.find(name); err != nil || e != nil {
			return e, err
		}
	}
	looked := make([]string, len(sources))
	for i, s := range sources {
		looked[i] = s.described()
	}
	return nil, elog.New(elog.Error, elog.FeatureNotSupported, "extension \"%s\" is not available", name).
		WithDetail("There is neither \"%s.control\" nor \"%s--VERSION.sql\" in %s.", name, name, strings.Join(looked, ", ")).
		WithHint("\"pgexthost extension list\" shows those that are. Those of plugins are looked for where extension_control_path says.").
		WithCause(ErrNotAvailable)
}

// extension is what a source has of an extension.
type extension struct {
	name    string
	source  source
	control control
	scripts []script
}

// version returns the version to install or upgrade to: what the control file
// says, or else the highest.
func (e *extension) version() string {
	highest := e.control.defaultVersion
	for _, s := range e.scripts {
		if e.control.defaultVersion == "" && (highest == "" || compareVersions(s.to, highest) > 0) {
			highest = s.to
		}
	}
	return highest
}

// requires are the extensions that have to be there before. SchemaExtension is
// what records them all.
func (e *extension) requires() []string {
	all := append([]string{}, e.control.requires...) // never nil, which would be NULL
	if e.name != SchemaExtension && !slices.Contains(all, SchemaExtension) {
		all = slices.Insert(all, 0, SchemaExtension)
	}
	return all
}
