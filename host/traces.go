package host

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pgexthost/pgexthost/internal/control"
	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/internal/lockfile"
	"github.com/pgexthost/pgexthost/internal/settings"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// leaveTraces writes the files by which others find this host, and learn how it
// was started and what it runs with. The lock file is there already.
func (h *host) leaveTraces() error {
	if err := lockfile.WriteOpts(h.dir.path, commandLine()); err != nil {
		return err
	}
	h.saveSettings()
	h.saveLibraries()
	h.writeExternalPidFile()
	failpoint.Here(failpoint.TracesLeft)
	return nil
}

// commandLine is what "restart" will run again.
func commandLine() lockfile.Opts {
	program, err := lockfile.OwnProgram()
	if err != nil {
		program = os.Args[0] // a restart will say what is wrong with it
	}
	return lockfile.Opts{Program: program, Args: os.Args[1:]}
}

// writeExternalPidFile mirrors what PostmasterMain does for external_pid_file: a
// failure is reported, and the host goes on.
func (h *host) writeExternalPidFile() {
	path := h.store.String(settings.ExternalPidFile)
	if path == "" {
		return
	}
	if !filepath.IsAbs(path) { // a postmaster runs in its data directory
		path = filepath.Join(h.dir.path, path)
	}
	h.externalPidFile = path
	err := os.WriteFile(path, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600)
	if err == nil {
		err = os.Chmod(path, 0o644) //nolint:gosec // it is for others to read, whatever the umask is
	}
	if err != nil {
		h.log.Emit(elog.New(elog.Log, elog.FileAccessCode(err), "could not write external PID file \"%s\": %s", path, elog.OSReason(err)))
	}
}

// removeTraces takes away what must not outlive the host. The lock file goes
// last, with the directory.
func (h *host) removeTraces() {
	if h.externalPidFile != "" {
		_ = os.Remove(h.externalPidFile)
	}
	if h.dir != nil && h.dir.isOurs() {
		_ = os.Remove(h.settingsFile())
		_ = os.Remove(h.librariesFile())
		_ = os.Remove(filepath.Join(h.dir.path, control.SocketName)) // of a control server that was killed
	}
}

// setStatus writes the status line of the lock file, and tells the service manager
// of a stop.
func (h *host) setStatus(s lockfile.Status) {
	failpoint.Here(failpoint.StatusWriting)
	if err := h.dir.lockFile.SetStatus(s); err != nil {
		h.log.Emit(elog.AsErrorData(err, elog.Log))
	}
	failpoint.Here(failpoint.StatusWritten)
	if s == lockfile.Stopping {
		h.service.stop()
	}
}
