package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/plugins/pluginstest"
)

// killFile, in the host's directory, holds the number of the statement before
// which the next worker kills itself, and lastKill the last such number. As long as
// the file has a greater one, workers wait.
const (
	killFile = "kill-before"
	lastKill = 40
)

var reached int

// dieNow is what the workers of the tests do before each statement.
func dieNow(string) error {
	reached++
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(killFile)
		if err != nil {
			return nil
		}
		n, _ := strconv.Atoi(string(text))
		switch {
		case n == reached && n <= lastKill:
			if err := os.WriteFile(killFile, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
				return err
			}
			return unix.Kill(os.Getpid(), unix.SIGKILL)
		case n <= lastKill:
			return nil
		}
		<-tick.C
	}
}

// startHost starts a host whose worker looks after the database.
func (d *database) startHost(settings map[string]string) *pluginstest.Host {
	d.Helper()
	all := map[string]string{"retention.database": d.name, "retention.naptime": "1s"}
	maps.Copy(all, settings)
	return pluginstest.StartHost(d, pluginstest.HostOptions{Server: d.db, Settings: all})
}

// daily makes a table with the partitions of the last days, each with a row. It
// returns what the name of today's partition would be: it may be tomorrow soon.
func daily(d *database, days int) (today string) {
	d.exec(strings.ReplaceAll(`SET TimeZone = 'UTC'; CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at);
		DO $$ BEGIN FOR day IN 1..DAYS LOOP EXECUTE format('CREATE TABLE %I PARTITION OF p FOR VALUES FROM (%L) TO (%L)',
			to_char(current_date - day, '"p_p"YYYY_MM_DD'), current_date - day, current_date - day + 1); END LOOP; END $$;
		INSERT INTO p SELECT generate_series(current_date - DAYS, current_date - 1, interval '1 day')`, "DAYS", strconv.Itoa(days)))
	return d.text(`SELECT to_char(max(at) + interval '1 day', '"p_p"YYYY_MM_DD') FROM p`)
}

// wellKept says whether the days of a policy that keeps two and has three ahead
// are there, and no others. It may take a round.
const wellKept = `SELECT 'yes' WHERE
	(SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_class c WHERE c.relname LIKE 'p\_p%' AND relkind = 'r')
	= (SELECT array_agg(to_char(current_date + n, '"p_p"YYYY_MM_DD') ORDER BY n) FROM generate_series(-2, 3) n)
	AND NOT EXISTS (SELECT FROM retention.retiring)`

const dailyPolicy = "every => '1 day', premake => 3, keep => '2 days', on_expiry => 'drop'"

const atWork = "retention: looking after the tables of database"

func TestAWorkerThatIsKilledFortyTimesDoesItsWork(t *testing.T) {
	d := newDatabase(t)
	today := daily(d, 100)                // more than it gets done between the kills
	d.leader("").conn.HangUp(t.Context()) // for the schema
	d.policy("p", dailyPolicy)
	h := d.startHost(map[string]string{"retention.batch": "1", "shared_preload_libraries": ""})
	h.Stop(t)
	file := filepath.Join(h.Dir(), killFile)
	check(t, os.WriteFile(file, []byte("1"), 0o600))
	h.Set(t, "shared_preload_libraries", "retention")
	h.Start(t)
	for n := 1; n <= lastKill; n++ {
		h.AwaitLogs(t, "was terminated by signal 9", n)
	}
	d.want("1", "SELECT least(count(*), 1)::text FROM pg_inherits, retention.policy WHERE inhparent = parent AND inhrelid::regclass::text < to_char(current_date - 2, '\"p_p\"YYYY_MM_DD')")
	check(t, os.Remove(file))
	d.await("the work to be done", func() bool { return d.text(wellKept) == "yes" })
	h.Stop(t)
	if n := len(h.AwaitLogs(t, "was terminated by signal 9", lastKill)); n != lastKill {
		t.Errorf("%d workers were killed", n)
	}
	// No row is lost of what is left.
	d.want("true", "SELECT ((SELECT count(*) FROM p) = (SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass AND inhrelid::regclass::text < $1))::text", today)
}

func TestOfTwoHostsOneWorksAndTheOtherTakesOver(t *testing.T) {
	d := newDatabase(t)
	daily(d, 10)
	first := d.startHost(nil)
	first.AwaitLog(t, atWork)
	second := d.startHost(nil)
	d.await("the second to stand by", func() bool {
		return d.text("SELECT 'yes' FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'retention %' AND query LIKE '%pg_try_advisory_lock%'", d.name) != ""
	})
	d.policy("p", dailyPolicy)
	d.await("the work to be done", func() bool { return d.text(wellKept) == "yes" })
	if slices.ContainsFunc(second.Log(), func(r pluginstest.Record) bool { return strings.Contains(r.Message, atWork) }) {
		t.Error("both work")
	}
	first.Kill(t)
	second.AwaitLog(t, atWork)
	d.exec("CREATE TABLE q (at date NOT NULL) PARTITION BY RANGE (at)")
	d.policy("q", "every => '1 day', premake => 0")
	d.await("the work to be done", func() bool { return strings.Contains(d.partitions("q"), "q_p") })
	second.Stop(t)
}

func TestAReloadChangesSettings(t *testing.T) {
	d := newDatabase(t)
	daily(d, 10)
	h := d.startHost(map[string]string{"retention.dry_run": "on"})
	h.AwaitLog(t, atWork)
	d.policy("p", dailyPolicy)
	h.AwaitLog(t, "retention: dry run: would retire partition")
	d.want("10", "SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'p'::regclass")
	h.Set(t, "retention.dry_run", "off")
	d.await("the work to be done", func() bool { return d.text(wellKept) == "yes" })
	h.Stop(t)
}
