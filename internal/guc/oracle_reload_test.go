package guc_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// agreeOnReloads has a server and our stores go through the same reloads, and
// compares what the postmaster logs, what it runs with then, and what a process
// that was there before runs with.
func agreeOnReloads(t *testing.T, o *oracle) {
	defs := withoutLogLevel(o.defs)
	postmaster := guc.NewStore(defs...)
	postmaster.EndStartup()
	child, _ := guc.NewChildStore(nil, defs...)
	child.EndStartup()
	o.conn = o.connect(t)                                                                // pg_file_settings has left marks in the process of the other
	if _, err := o.conn.Exec(t.Context(), "SET log_min_messages = debug2"); err != nil { // see reload
		t.Fatal(err)
	}
	forgottenByPostmaster, forgottenByChild := forgottenMarks{}, forgottenMarks{}
	var reloads, pending, partly int
	seeds(t, *fileCount/4, func(seed uint64) error {
		reloads++
		tree := generate(seed, defs, true)
		if reloads%3 == 0 { // by and by everything is put back
			tree.files = map[string]string{mainName: "", autoName: ""}
		}
		log := o.reload(t, tree)
		conf := guc.ParseFile(o.main(), o.auto())
		reports := postmaster.ApplyReload(conf)
		child.ApplyReload(conf)
		if err := sameLog(tree, conf, reports, log); err != nil {
			return err
		}
		wasApplied := true
		for _, e := range reports {
			wasApplied = wasApplied && !strings.HasSuffix(e.Message, "no changes were applied")
			if strings.HasSuffix(e.Message, "unaffected changes were applied") {
				partly++
			}
		}
		fresh := o.connect(t) // its process has what the postmaster has
		defer func() { _ = fresh.Close(t.Context()) }()
		n, err := serverProcess{fresh, postmaster, false, forgottenByPostmaster}.compare(t, tree, conf, wasApplied)
		pending += n
		if err == nil {
			_, err = serverProcess{o.conn, child, true, forgottenByChild}.compare(t, tree, conf, wasApplied)
		}
		return err
	})
	if pending == 0 || partly == 0 {
		t.Errorf("%d reloads left %d restarts pending, %d were applied in part", reloads, pending, partly)
	}
}

// withoutLogLevel leaves out the setting that decides what is in the log, which
// is to be compared.
func withoutLogLevel(defs []guc.Definition) []guc.Definition {
	return slices.DeleteFunc(slices.Clone(defs), func(d guc.Definition) bool { return d.Name == "log_min_messages" })
}

// reload makes the server read the tree and returns what the postmaster logs
// about it. The postmaster is done when its children have been told, which our
// connection's process is when it has loaded the files or logged that it won't.
func (o *oracle) reload(t *testing.T, tree fileTree) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	mark := len(o.server.Log())
	loaded := func() (when time.Time) {
		if err := o.conn.QueryRow(ctx, "SELECT pg_conf_load_time()").Scan(&when); err != nil {
			t.Fatal(err)
		}
		return when
	}
	before := loaded()
	tree.write(t, o.server.DataDir())
	if _, err := o.conn.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	refused := regexp.MustCompile(fmt.Sprintf(`\[%d\] DEBUG: .* no changes were applied`, o.conn.PgConn().PID()))
	for loaded().Equal(before) && !refused.MatchString(o.server.Log()[mark:]) {
	}
	return o.messages(o.server.Log()[mark:])
}

var logPrefix = regexp.MustCompile(`^\S+ \S+ \S+ \[(\d+)\] `)

// messages returns what the postmaster has written, without prefixes and
// without the line that says that a reload begins.
func (o *oracle) messages(log string) (messages []string) {
	own := false
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		if prefix := logPrefix.FindStringSubmatch(line); prefix != nil {
			if own = prefix[1] == strconv.Itoa(o.server.Pid()); own {
				messages = append(messages, line[len(prefix[0]):])
			}
		} else if own {
			messages[len(messages)-1] += "\n" + line
		}
	}
	return slices.DeleteFunc(messages, func(m string) bool { return strings.HasPrefix(m, "LOG:  received SIGHUP") })
}

// ourMessages shows reports as PostgreSQL logs them: without units in the
// bounds, which came with version 18, and without what we add.
func ourMessages(tree fileTree, reports []*elog.ErrorData) (messages []string) {
	for _, e := range reports {
		message := asFlexSays(miscounted(tree, e).Message)
		messages = append(messages, e.Level.String()+":  "+strings.ReplaceAll(withoutUnits(message), "\n", "\n\t"))
		if e.Hint != "" && e.Code == elog.InvalidParameterValue {
			messages = append(messages, "HINT:  "+e.Hint)
		}
	}
	return messages
}

// sameLog compares our reports with the postmaster's.
func sameLog(tree fileTree, conf guc.Config, reports []*elog.ErrorData, want []string) error {
	got := ourMessages(tree, afterTheMainFile(conf, onlyTheFirstKind(conf, reports)))
	for i := range want {
		want[i] = withoutUnits(want[i])
		want[i] = strings.Replace(want[i], `file "`+autoName+`"`, `file "`+conf.BadFile+`"`, 1)
	}
	got, want = removalsInOrder(got), removalsInOrder(withoutReplaced(conf, want, got))
	if slices.Equal(got, want) || conf.BadFile != "" && hasDirectory(tree) && isSubsequence(want, got) {
		return nil
	}
	return difference(tree, "log", got, want)
}

// serverSetting is a row of pg_settings.
type serverSetting struct {
	shown, source, file string
	line                int
	pending             bool
}

// serverProcess is one of the server's, with the store that should be like it.
type serverProcess struct {
	conn      *pgx.Conn
	store     *guc.Store
	isChild   bool // it was there before the reload
	forgotten forgottenMarks
}

// compare compares the settings of the process with the store's. It returns how
// many wait for a restart.
func (p serverProcess) compare(t *testing.T, tree fileTree, conf guc.Config, wasApplied bool) (pending int, err error) {
	t.Helper()
	theirs := map[string]serverSetting{}
	rows, err := p.conn.Query(t.Context(), `SELECT name, current_setting(name), source, coalesce(sourcefile, ''), coalesce(sourceline, 0), pending_restart
		FROM pg_settings WHERE name = ANY($1)`, oracleNames)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var s serverSetting
	if _, err = pgx.ForEachRow(rows, []any{&name, &s.shown, &s.source, &s.file, &s.line, &s.pending}, func() error {
		theirs[name] = s
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	custom := []string{"x.y", "x.z", "lib.naptime", "é.ü", "x._1"}
	for _, name := range custom {
		if err := p.conn.QueryRow(t.Context(), "SELECT coalesce(current_setting($1, true), '')", name).Scan(&s.shown); err != nil {
			t.Fatal(err)
		}
		got := "" // PostgreSQL keeps a placeholder that has gone from the files
		if set, ok := p.store.Lookup(name); ok {
			got = set.Value.String()
		}
		if got != s.shown {
			return 0, fmt.Errorf("%v\n%s: got %q, want %q", tree, name, got, s.shown)
		}
	}
	for _, set := range p.store.Settings() {
		if set.Placeholder {
			continue
		}
		want := theirs[set.Definition.Name]
		got := serverSetting{shown: set.Show(), source: set.Source.String(), file: set.File, line: set.Line, pending: set.PendingRestart}
		if p.isChild && set.Definition.Context >= guc.SuperuserBackend && set.Definition.Context <= guc.Backend {
			got.source, got.file, got.line = want.source, want.file, want.line // it tells of a place its value isn't from
		}
		if p.forgotten.excuse(conf, wasApplied, set, want.pending) {
			want.pending = false
		}
		if got != want {
			return 0, fmt.Errorf("%v\n%s (child %v): got %+v, want %+v", tree, set.Definition.Name, p.isChild, got, want)
		}
		if got.pending {
			pending++
		}
	}
	return pending, nil
}
