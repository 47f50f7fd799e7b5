//go:build !linux

package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// TestMain runs none of the tests where there are no hosts, which call these.

func openPidfd(int) (int, error) { return -1, errors.ErrUnsupported }

func signalPidfd(int, unix.Signal) error { return errors.ErrUnsupported }

func unlockTerminal(*os.File) (uint32, error) { return 0, errors.ErrUnsupported }
