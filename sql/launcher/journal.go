package launcher

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// journal is what the data directory knows of main functions that have begun. A
// held worker leaves a file with the name of its handle just before main. So a
// request whose host was killed after the commit can be told apart: without that
// file its main has not run.
//
// The kernel keeps files whoever is killed, but may lose them with the machine.
// Therefore each incarnation has a file that says in which boot it has begun; what
// belongs to an earlier one is not known.
type journal struct {
	dir         string
	incarnation string
	boot        []byte // of this machine; empty: not known
}

const (
	bootFile   = "/proc/sys/kernel/random/boot_id"
	bootSuffix = ".boot"
	// keepJournal is for how long incarnations are remembered that are gone.
	keepJournal = 30 * 24 * time.Hour
)

// openJournal makes the journal, in a data directory, ready for an incarnation.
func openJournal(dataDir, incarnation string) (*journal, error) {
	boot, _ := os.ReadFile(bootFile) // without it nothing is known
	j := &journal{dir: filepath.Join(dataDir, settings.BegunDir), incarnation: incarnation, boot: boot}
	err := os.Mkdir(j.dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil {
		err = j.begin()
	}
	if err != nil {
		return nil, elog.New(elog.Fatal, elog.FileAccessCode(err), "could not write to directory \"%s\": %s", j.dir, elog.OSReason(err)).WithCause(err)
	}
	failpoint.Here(failpoint.JournalOpened)
	j.sweep()
	return j, nil
}

// begin says in which boot the incarnation has begun, unless an earlier launcher of
// it has. At no time is the file there without its content: all that had been
// committed would count as begun.
func (j *journal) begin() error {
	path := filepath.Join(j.dir, j.incarnation+bootSuffix)
	if boot, err := os.ReadFile(path); err == nil && bytes.Equal(boot, j.boot) {
		return nil
	}
	j.keepPredecessor()
	next := path + ".new"
	if err := os.WriteFile(next, j.boot, 0o600); err != nil {
		return err
	}
	failpoint.Here(failpoint.JournalWritten)
	return os.Rename(next, path)
}

// keepPredecessor makes the youngest of the other incarnations as young as it can
// be: it may have lived until now, however long ago it began.
func (j *journal) keepPredecessor() {
	files, err := filepath.Glob(filepath.Join(j.dir, "*"+bootSuffix))
	if err != nil {
		return
	}
	var latest string
	var began time.Time
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(began) {
			latest, began = file, info.ModTime()
		}
	}
	if latest != "" {
		now := time.Now()
		_ = os.Chtimes(latest, now, now) // one that is swept too early counts as begun
	}
}

// begun reports whether the main function of a handle has begun, or may have.
func (j *journal) begun(handle string) bool {
	incarnation, _, ok := strings.Cut(handle, ".")
	if !ok || strings.ContainsRune(handle, '/') {
		return true
	}
	if incarnation != j.incarnation {
		boot, err := os.ReadFile(filepath.Join(j.dir, incarnation+bootSuffix))
		if err != nil || len(boot) == 0 || !bytes.Equal(boot, j.boot) {
			return true
		}
	}
	_, err := os.Lstat(filepath.Join(j.dir, handle))
	return !errors.Is(err, fs.ErrNotExist)
}

// forget drops what nobody will ask for any more, because it is committed that the
// request is done with, or has another handle.
func (j *journal) forget(changes []change) {
	for _, c := range changes {
		if c.old != "" && !c.foreign && !strings.ContainsRune(c.old, '/') && (c.do == settle || c.do == claim) {
			_ = os.Remove(filepath.Join(j.dir, c.old)) // one that stays costs an inode
			failpoint.Here(failpoint.MarkForgotten)
		}
	}
}

// sweep drops incarnations that are long gone, and what is left of their handles.
func (j *journal) sweep() {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return
	}
	known := make(map[string]bool)
	for _, e := range entries {
		incarnation, isBoot := strings.CutSuffix(e.Name(), bootSuffix)
		if !isBoot {
			continue
		}
		info, err := e.Info()
		if err == nil && incarnation != j.incarnation && time.Since(info.ModTime()) > keepJournal {
			_ = os.Remove(filepath.Join(j.dir, e.Name()))
			continue
		}
		known[incarnation] = true
	}
	for _, e := range entries {
		incarnation, _, _ := strings.Cut(e.Name(), ".")
		if !known[incarnation] && !strings.HasSuffix(e.Name(), bootSuffix) {
			_ = os.Remove(filepath.Join(j.dir, e.Name()))
		}
	}
}
