package guc_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/localpg"
)

// The oracle is a real server: what it makes of generated configuration files
// is what this package must make of them, except for the deviations that doc.go
// lists and deviations_test.go accounts for.
//
//	go test ./internal/guc -run TestPostgresAgrees -seed 7 -files 5000
var (
	firstSeed = flag.Uint64("seed", 1, "seed of the first generated configuration")
	fileCount = flag.Int("files", 500, "number of generated configurations")
)

// oracleNames are settings of PostgreSQL that no hook guards, of each type,
// unit and context.
var oracleNames = []string{
	"work_mem", "checkpoint_timeout", "vacuum_cost_delay", "vacuum_cost_page_hit", "enable_sort", "log_min_messages", "restore_command",
	"seq_page_cost", "deadlock_timeout", "log_rotation_age", "backslash_quote", "checkpoint_completion_target",
	"track_activity_query_size", "bonjour_name", "max_files_per_process", "hot_standby", // postmaster
	"log_disconnections", "ignore_system_indexes", // backend
	"block_size", // internal
}

// oracleAliases are spellings that pg_settings doesn't tell.
var oracleAliases = map[string]map[string]string{
	"log_min_messages": {"debug": "debug2"},
	"backslash_quote":  {"true": "on", "yes": "on", "1": "on", "false": "off", "no": "off", "0": "off"},
}

// oracle is a server with nothing in its configuration files, and a connection
// whose process has been there from the start.
type oracle struct {
	server *localpg.Server
	conn   *pgx.Conn
	defs   []guc.Definition
}

// main and auto are the server's configuration files.
func (o *oracle) main() string { return filepath.Join(o.server.DataDir(), mainName) }
func (o *oracle) auto() string { return filepath.Join(o.server.DataDir(), autoName) }

func startOracle(t *testing.T) *oracle {
	t.Helper()
	ctx := t.Context()
	template, err := localpg.NewTemplate(ctx, localpg.Options{})
	var missing *localpg.NotFoundError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = template.Close() }()
	server, err := localpg.Start(ctx, localpg.Options{Populate: func(ctx context.Context, dataDir string) error {
		if err := template.Populate(ctx, dataDir); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dataDir, mainName), nil, 0o600)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	o := &oracle{server: server}
	o.conn = o.connect(t)
	o.defs = o.definitions(t)
	return o
}

func (o *oracle) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, o.server.ConnInfo())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// definitions takes from the server what oracleNames are.
func (o *oracle) definitions(t *testing.T) []guc.Definition {
	t.Helper()
	rows, err := o.conn.Query(t.Context(), `SELECT name, vartype, context, coalesce(unit, ''), coalesce(min_val, '0'),
		coalesce(max_val, '0'), coalesce(enumvals, '{}'), coalesce(boot_val, '') FROM pg_settings WHERE name = ANY($1)`, oracleNames)
	if err != nil {
		t.Fatal(err)
	}
	defs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d guc.Definition, err error) {
		var vartype, grantee, unit, low, high string
		if err := row.Scan(&d.Name, &vartype, &grantee, &unit, &low, &high, &d.EnumOptions, &d.Default); err != nil {
			return d, err
		}
		d.EnumAliases = oracleAliases[d.Name]
		if d.Type == guc.TypeReal {
			d.EnumOptions = nil
		}
		err = errors.Join(d.Type.UnmarshalText([]byte(vartype)), d.Context.UnmarshalText([]byte(grantee)), d.Unit.UnmarshalText([]byte(unit)))
		if d.Type == guc.TypeReal {
			d.MinReal, d.MaxReal = parseBound(low), parseBound(high)
		} else {
			d.Min, d.Max = int64(parseBound(low)), int64(parseBound(high))
		}
		return d, err
	})
	if err != nil || len(defs) != len(oracleNames) {
		t.Fatalf("%d of %d definitions: %v", len(defs), len(oracleNames), err)
	}
	return defs
}

// parseBound reads a bound of pg_settings, which rounds the greatest number up.
func parseBound(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return min(f, math.MaxFloat64)
}

// A test in three parts, because they share the server: what one configuration
// file says, what a reload makes of it, and what a start does.
func TestPostgresAgrees(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
	o := startOracle(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *oracle)
	}{{"on files", agreeOnFiles}, {"on reloads", agreeOnReloads}, {"on starts", agreeOnStarts}} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, o) }) {
			return
		}
	}
}

// seeds calls f with each seed until it has failed a few times.
func seeds(t *testing.T, n int, f func(seed uint64) error) {
	t.Helper()
	failures := 0
	for seed := *firstSeed; seed < *firstSeed+uint64(n) && failures < 5; seed++ {
		if err := f(seed); err != nil {
			failures++
			t.Error(err)
		}
	}
}

// difference is an error about two texts that should be the same.
func difference(tree fileTree, what string, got, want []string) error {
	return fmt.Errorf("%v\n%s: got\n\t%s\nwant\n\t%s", tree, what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
}
