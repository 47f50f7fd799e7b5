package localpg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that server programs run as. PostgreSQL refuses to run
// as root, so root lends its servers to somebody else.
type account struct {
	uid, gid uint32
	drop     bool // we are root: children change to uid and gid
}

// lenders are the users that root's servers run as, best first.
var lenders = []string{"postgres", "nobody"}

// serverAccount returns the current user, or for root the first of postgres
// and nobody that exists.
func serverAccount() (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		return account{uid: uint32(uid), gid: uint32(os.Getegid())}, nil
	}
	for _, name := range lenders {
		acct, err := accountOf(name)
		if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
			continue
		}
		return acct, err
	}
	return account{}, errors.New(report("PostgreSQL does not run as root, and there is no other user to run it as",
		"Looked for the users \"postgres\" and \"nobody\".", "Create one: \"useradd --system postgres\"."))
}

func accountOf(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("user %q: %w", name, err)
	}
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		return account{}, fmt.Errorf("user %q: %w", name, err)
	}
	return account{uid: uint32(uid), gid: uint32(gid), drop: true}, nil
}

// owners are the user ids that directories of ours may have: for root also
// those of servers run before a better user was created.
func owners() []uint32 {
	uids := []uint32{uint32(os.Geteuid())}
	if uids[0] != 0 {
		return uids
	}
	for _, name := range lenders {
		if acct, err := accountOf(name); err == nil {
			uids = append(uids, acct.uid)
		}
	}
	return uids
}

// credential is what SysProcAttr wants; nil means no change.
func (a account) credential() *syscall.Credential {
	if !a.drop {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own hands path and everything under it to the account; nothing to do unless
// we are root. Symbolic links are handed over themselves, never followed.
func (a account) own(path string) error {
	if !a.drop {
		return nil
	}
	return filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, int(a.uid), int(a.gid))
	})
}

// blockedAt returns the first directory on the way to dir, dir included, that
// the account cannot enter, or "". Only root needs to ask: anybody else gets a
// plain error from the first file it opens. ACLs are not looked at.
func (a account) blockedAt(dir string) string {
	if !a.drop {
		return ""
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return dir
	}
	blocked := ""
	for p := real; ; p = filepath.Dir(p) {
		if !a.canEnter(p) {
			blocked = p
		}
		if p == filepath.Dir(p) {
			return blocked
		}
	}
}

func (a account) canEnter(dir string) bool {
	fi, err := os.Stat(dir)
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	mode := fi.Mode().Perm()
	switch {
	case st.Uid == a.uid:
		return mode&0o100 != 0
	case st.Gid == a.gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}
