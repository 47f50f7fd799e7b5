//go:build !linux || portable

package trampoline

import "errors"

// renouncePrivileges refuses: it is Linux that knows such a thing.
func renouncePrivileges() error { return errors.ErrUnsupported }
