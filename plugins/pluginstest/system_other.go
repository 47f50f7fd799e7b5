//go:build !linux

package pluginstest

import "syscall"

// dieWithTest does nothing: no host runs here.
func dieWithTest(*syscall.SysProcAttr) {}
