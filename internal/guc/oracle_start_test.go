package guc_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// oracleFiles are files that were of interest once, with the setting whose
// value is to be compared.
var oracleFiles = []struct{ ask, text string }{
	{"work_mem", "work_mem = 30.1GB\n"},
	{"work_mem", "work_mem = '30.1GB'\n"},
	{"work_mem", "WORK_MEM '0x40 kB '\n"},
	{"work_mem", "work_mem = 1e5\n"},
	{"work_mem", "work_mem = 1\nwork_mem = 100\n"},
	{"work_mem", "work_mem = 1KB\n"},
	{"work_mem", "work_mem = 99999999999999999999\n"},
	{"checkpoint_timeout", "checkpoint_timeout = '1.5min'\n"},
	{"checkpoint_timeout", "checkpoint_timeout = 1\nfoo = 1\n"},
	{"vacuum_cost_delay", "vacuum_cost_delay = 1500us\n"},
	{"vacuum_cost_delay", "vacuum_cost_delay = '-inf'\nvacuum_cost_page_hit = 2.5\n"},
	{"vacuum_cost_page_hit", "vacuum_cost_page_hit 2.5 # half to even\r\n"},
	{"vacuum_cost_page_hit", "vacuum_cost_page_hit ' .5'\n"},
	{"enable_sort", "enable_sort = of\n"},
	{"enable_sort", "enable_sort = o\nlog_min_messages = loud\n"},
	{"log_min_messages", "log_min_messages = DEBUG\n"},
	{"restore_command", `restore_command = 'it''s \101\t\x'` + "\n"},
	{"restore_command", "restore_command = 'a''\n"},
	{"restore_command", "restore_command = a.b\n"},
	{"restore_command", "restore_command = a.b.c:/d-\n"},
	{"restore_command", "\nx.y.z = 1\nx.y = '\n= 2\n"},
}

// agreeOnStarts compares with "postgres -C name", which reads the files as a
// postmaster that starts does.
func agreeOnStarts(t *testing.T, o *oracle) {
	defs := slices.DeleteFunc(slices.Clone(o.defs), func(d guc.Definition) bool { return d.Context == guc.Internal }) // some are only computed later
	dir := o.startable(t)
	for _, tt := range oracleFiles {
		tree := fileTree{files: map[string]string{mainName: tt.text, autoName: ""}}
		if err := o.sameStart(t, tree, dir, tt.ask, defs); err != nil {
			t.Error(err)
		}
	}
	quiet := withoutLogLevel(defs)
	seeds(t, *fileCount/16, func(seed uint64) error {
		return o.sameStart(t, generate(seed, quiet, true), dir, quiet[seed%uint64(len(quiet))].Name, quiet)
	})
}

// startable makes what "postgres -C" takes for a data directory.
func (o *oracle) startable(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(o.server.Dir(), "starts") // where the server's user can go
	version, _, _ := strings.Cut(o.server.Version(), ".")
	writeFile(t, dir, "PG_VERSION", version+"\n")
	if owner := serverUser(t); owner != nil {
		for _, path := range []string{dir, filepath.Join(dir, "PG_VERSION")} {
			if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// serverUser is whom a server runs as: nil for ourselves.
func serverUser(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.ParseUint(owner.Uid, 10, 32)
	gid, _ := strconv.ParseUint(owner.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

const skipping = "LOG:  skipping missing configuration file"

func (o *oracle) sameStart(t *testing.T, tree fileTree, dir, ask string, defs []guc.Definition) error {
	t.Helper()
	conf := guc.ParseFile(tree.write(t, dir))
	cmd := exec.Command(filepath.Join(o.server.Binaries().Dir, "postgres"), "-C", ask, "-D", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: serverUser(t)}
	cmd.Env = []string{"LC_ALL=C"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // a refused file is an exit code
	log := strings.TrimSuffix(stderr.String(), "\n")
	var want []string
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		if prefix := logPrefix.FindString(line); prefix != "" {
			want = append(want, line[len(prefix):])
		} else if len(want) > 0 {
			want[len(want)-1] += "\n" + line
		}
	}
	// PostgreSQL reads the files twice, first to look for data_directory.
	conf.Reports = slices.DeleteFunc(conf.Reports, func(e *elog.ErrorData) bool { return !isProblem(e) })
	want = slices.DeleteFunc(want, func(m string) bool { return strings.HasPrefix(m, skipping) })
	store := guc.NewStore(defs...)
	reports := store.ApplyStartup(conf)
	if outOfDescriptors(want, reports) {
		return nil
	}
	if err := sameLog(tree, conf, reports, want); err != nil {
		return err
	}
	if slices.ContainsFunc(reports, func(e *elog.ErrorData) bool { return e.Level == elog.Fatal }) {
		return nil
	}
	set, _ := store.Lookup(ask)
	got := set.Value.String() + "\n"
	if set.Definition.Type == guc.TypeReal { // of which PostgreSQL shows six digits
		got = strconv.FormatFloat(set.Value.Float(), 'g', 6, 64) + "\n"
	}
	if got != stdout.String() {
		return fmt.Errorf("%v\n%s: got %q, want %q", tree, ask, got, stdout.String())
	}
	return nil
}
