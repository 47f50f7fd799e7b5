//go:build !linux

package main

import "syscall"

// stopWithDemo does nothing: no host runs here, and so no demo.
func stopWithDemo(*syscall.SysProcAttr) {}
