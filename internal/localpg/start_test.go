package localpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestStartFromScratch(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	s, err := Start(t.Context(), Options{TempDir: temp})
	check(t, err)
	defer s.Stop(context.Background())

	if got := query(t, s.ConnInfo(), "SELECT 6*7"); got != "42" {
		t.Errorf("SELECT 6*7 returned %q", got)
	}
	if got := query(t, s.ConnInfo(), "SHOW server_version"); !strings.HasPrefix(got, s.Version()) {
		t.Errorf("server_version is %q, Version says %q", got, s.Version())
	}
	if got := query(t, s.ConnInfo(), "SHOW server_encoding"); got != "UTF8" {
		t.Errorf("encoding %q", got)
	}
	if got := query(t, s.ConnInfo(), "SHOW listen_addresses"); got != "" || s.ConnInfoTCP() != "" {
		t.Errorf("listens on %q, ConnInfoTCP %q", got, s.ConnInfoTCP())
	}
	if got, want := s.ConnInfo(), "host="+s.Dir()+" port=5432 user=postgres dbname=postgres"; got != want {
		t.Errorf("ConnInfo is %q, want %q", got, want)
	}
	if !strings.Contains(s.Log(), "database system is ready to accept connections") {
		t.Errorf("log: %s", s.Log())
	}
	fi, err := os.Stat(s.Dir())
	check(t, err)
	if fi.Mode().Perm() != 0o700 || filepath.Dir(s.Dir()) != temp {
		t.Errorf("directory %s has mode %v", s.Dir(), fi.Mode())
	}
	check(t, s.Stop(t.Context()))
}

func TestServerDoesNotRunAsRoot(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	fi, err := os.Stat(filepath.Join("/proc", itoa(s.Pid())))
	check(t, err)
	acct, err := serverAccount()
	check(t, err)
	if uid := uidOf(fi); uid == 0 || uid != acct.uid {
		t.Errorf("postgres runs as user id %d, want %d", uid, acct.uid)
	}
}

func TestServerDoesNotInheritTheLock(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	fds, err := filepath.Glob(filepath.Join("/proc", itoa(s.Pid()), "fd", "*"))
	check(t, err)
	if len(fds) == 0 {
		t.Skip("descriptors of another user's process cannot be read here")
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); to == s.Dir() {
			t.Errorf("%s is %s", fd, to)
		}
	}
}

func TestEnvironmentDoesNotLeakIn(t *testing.T) {
	temp := tempDir(t)
	for _, name := range []string{"PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGOPTIONS", "PGSERVICE", "PGSSLMODE", "LC_ALL", "LANG", "NOTIFY_SOCKET"} {
		t.Setenv(name, "nonsense")
	}
	s, err := Start(t.Context(), Options{TempDir: temp})
	check(t, err)
	check(t, s.Stop(t.Context()))
}

func TestTwoConcurrentStarts(t *testing.T) {
	t.Parallel()
	temp := tempDir(t)
	var wg sync.WaitGroup
	servers := make([]*Server, 2)
	for i := range servers {
		wg.Go(func() { servers[i] = start(t, Options{TempDir: temp, TCP: true}) })
	}
	wg.Wait()
	if servers[0].Dir() == servers[1].Dir() || servers[0].Port() == servers[1].Port() {
		t.Errorf("both in %s at port %d", servers[0].Dir(), servers[0].Port())
	}
	for _, s := range servers {
		if got := query(t, s.ConnInfoTCP(), "SHOW data_directory"); got != s.DataDir() {
			t.Errorf("connected to %s, want %s", got, s.DataDir())
		}
	}
}

func TestSettingsAndHBA(t *testing.T) {
	t.Parallel()
	s := start(t, Options{
		TCP:      true,
		Settings: []string{"wal_level=logical", "cluster_name=it's me", "shared_buffers=16MB"},
		HBA:      []string{"local all nobody_at_all reject", "host all postgres 127.0.0.1/32 reject"},
	})
	for name, want := range map[string]string{"wal_level": "logical", "cluster_name": "it's me", "shared_buffers": "16MB", "fsync": "off"} {
		if got := query(t, s.ConnInfo(), "SHOW "+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	_, err := tryQuery(t.Context(), s.ConnInfoTCP(), "SELECT 1")
	if err == nil || !strings.Contains(err.Error(), "28000") {
		t.Errorf("rejected by pg_hba.conf: %v", err)
	}
}

func TestServerThatRefusesOurLoginIsUp(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"reject", "scram-sha-256"} {
		start(t, Options{HBA: []string{"local all all " + method}})
	}
}

func TestPostgresThatDiesAtStart(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{
		TempDir: tempDir(t), Populate: template.Populate, Settings: []string{"shared_buffers=plenty"},
	})
	serr, ok := errors.AsType[*StartError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	const want = `invalid value for parameter "shared_buffers": "plenty"`
	if serr.Stage != "postgres" || !strings.Contains(serr.LogTail, want) || !strings.Contains(err.Error(), want) {
		t.Errorf("error: %v", err)
	}
}

func TestPopulateThatFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	_, err := Start(t.Context(), Options{
		TempDir: tempDir(t), Populate: func(context.Context, string) error { return boom },
	})
	if serr, ok := errors.AsType[*StartError](err); !ok || serr.Stage != "populate" || !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}
