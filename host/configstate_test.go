package host

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// settled returns a host that has a directory, a lock file and settings, and
// what it logs.
func settled(t *testing.T) (*host, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	file, err := lockfile.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = self.Close() })
	var log bytes.Buffer
	return &host{
		dir: &dataDir{path: dir, lock: self, lockFile: file}, log: elog.NewLogger(&log), store: guc.NewStore(settings.Definitions()...),
	}, &log
}

// The gateway refuses what only looks like a setting of a library's.
func TestTheSettingsInForceSayWhosePrefixIsReserved(t *testing.T) {
	h, _ := settled(t)
	is := guc.Registered{Reserved: []string{"Strict"}, Definitions: []guc.Definition{
		{Name: "strict.a", Type: guc.TypeBool, Default: "off"}, {Name: "free.a", Type: guc.TypeBool, Default: "off"},
	}}
	if _, _, err := h.store.Redefine(guc.Registered{}, is); err != nil {
		t.Fatal(err)
	}
	reserved := map[string]bool{}
	for _, s := range describe(h.store) {
		reserved[s.Name] = s.Reserved
	}
	if !reserved["strict.a"] || reserved["free.a"] || reserved[settings.Port] {
		t.Errorf("got %v", reserved)
	}
}

func TestTheSettingsInForceCanBeReadByOthers(t *testing.T) {
	h, log := settled(t)
	h.saveSettings()
	if err := h.store.Override(settings.WorkerStopTimeout, "90"); err != nil {
		t.Fatal(err)
	}
	if err := h.store.Override(settings.ServerConninfo, "password=secret"); err != nil {
		t.Fatal(err)
	}
	h.saveSettings()
	all, err := RunningSettings(h.dir.path)
	if err != nil || !slices.Equal(all, describe(h.store)) {
		t.Errorf("got %+v, %v", all, err)
	}
	i := slices.IndexFunc(all, func(s Setting) bool { return s.Name == settings.WorkerStopTimeout })
	if s := all[i]; s.Value != "90s" || s.Default != "0" || s.Context != "sighup" || s.Source != "override" {
		t.Errorf("got %+v", s)
	}
	text, err := os.ReadFile(filepath.Join(h.dir.path, settingsFileName))
	if err != nil || strings.Contains(string(text), "secret") || log.Len() > 0 {
		t.Errorf("%v; the log says %q; the file is\n%s", err, log, text)
	}
}

// No news is better than old news.
func TestSettingsThatCannotBeSavedAreForgotten(t *testing.T) {
	h, log := settled(t)
	h.saveSettings()
	path := filepath.Join(h.dir.path, settingsFileName)
	if err := os.MkdirAll(path+".tmp/x", 0o700); err != nil {
		t.Fatal(err)
	}
	h.saveSettings()
	if want := "LOG:  could not write to file \"" + path + "\": Is a directory\n"; !strings.HasSuffix(log.String(), want) {
		t.Errorf("the log says %q", log)
	}
	_, err := RunningSettings(h.dir.path)
	if got, want := refusal(err), "58P01: could not read file \""+path+"\": No such file or directory |  | "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = RunningSettings(h.dir.path)
	if got, want := refusal(err), "XX000: invalid data in file \""+path+"\": "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAHostThatHasLostItsDirectorySavesNothingThere(t *testing.T) {
	h, log := settled(t)
	if err := errors.Join(os.Rename(h.dir.path, h.dir.path+".moved"), os.Mkdir(h.dir.path, 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(h.dir.path + ".moved") })
	h.saveSettings()
	path := filepath.Join(h.dir.path, settingsFileName)
	if _, err := os.Stat(path); err == nil || log.Len() > 0 {
		t.Errorf("it has saved them; the log says %q", log)
	}
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.removeTraces()
	if text, err := os.ReadFile(path); err != nil || string(text) != "theirs" {
		t.Errorf("the other's file is %q, %v", text, err)
	}
}
