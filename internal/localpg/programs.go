package localpg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// programs is an installation made ready to run as a certain account.
type programs struct {
	bin string   // directory of the programs
	env []string // their whole environment
}

// prepare makes the programs of b runnable by acct, with whatever that takes
// put into dir: links that an npm package lacks, or a copy of the package if
// it lies where acct cannot enter, such as below /root. The caller hands dir
// to acct.
func prepare(b Binaries, dir string, acct account) (programs, error) {
	blocked := acct.blockedAt(b.Dir)
	switch {
	case b.npm == nil && blocked != "":
		return programs{}, fmt.Errorf("the programs in %q run as user id %d, which cannot enter %q", b.Dir, acct.uid, blocked)
	case b.npm != nil && blocked != "":
		native := filepath.Join(dir, "native")
		if err := b.npm.copyInto(native); err != nil {
			return programs{}, fmt.Errorf("copy of %q: %w", b.npm.native, err)
		}
		return programs{filepath.Join(native, "bin"), environment("")}, nil
	case b.npm != nil && len(b.npm.missing) > 0:
		lib := filepath.Join(dir, "lib")
		if err := b.npm.linkInto(lib); err != nil {
			return programs{}, fmt.Errorf("links for %q: %w", b.npm.native, err)
		}
		return programs{b.Dir, environment(lib)}, nil
	}
	return programs{b.Dir, environment("")}, nil
}

// environment is what server programs get: PG* would change what they do, LC_*
// the language of their messages, NOTIFY_SOCKET would have postgres report to
// systemd in our name.
func environment(libraries string) []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	path := filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))
	if libraries != "" {
		path = append([]string{libraries}, path...)
	}
	if len(path) > 0 {
		env = append(env, "LD_LIBRARY_PATH="+strings.Join(path, string(filepath.ListSeparator)))
	}
	return env
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (([0-9]+)\S*)`)

// askVersion runs postgres --version. Links that the program lacks live in a
// claimed directory for that moment, so that a later sweep takes them away
// even if this process is killed right now.
func askVersion(ctx context.Context, b Binaries) (version string, major int, err error) {
	libraries := ""
	if b.npm != nil && len(b.npm.missing) > 0 {
		scratch, err := claimDir(os.TempDir())
		if err != nil {
			return "", 0, err
		}
		defer func() { _ = scratch.remove() }() // swept by the next Start otherwise
		libraries = filepath.Join(scratch.path, "lib")
		if err := b.npm.linkInto(libraries); err != nil {
			return "", 0, err
		}
	}
	out, err := ask(ctx, environment(libraries), filepath.Join(b.Dir, "postgres"), "--version")
	if err != nil {
		return "", 0, err
	}
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return "", 0, fmt.Errorf("postgres --version says %q", out)
	}
	major, err = strconv.Atoi(m[2])
	return m[1], major, err
}
