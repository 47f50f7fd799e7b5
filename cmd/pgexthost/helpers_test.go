package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pgexthost/pgexthost/internal/testkit"
)

var shortTempDir = testkit.ShortTempDir

// skipIfShort leaves a test out that takes long and has little for the race detector
// to see.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: it runs without -short")
	}
}

func expectEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// waitFor reads lines until one contains the text.
func waitFor(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var b strings.Builder
	one := make([]byte, 1) // no buffer: the next call goes on where this one ends
	for {
		if _, err := io.ReadFull(r, one); err != nil {
			t.Fatalf("the output ended without %q:\n%s", text, b.String())
		}
		b.Write(one)
		if strings.HasSuffix(b.String(), text) {
			return
		}
	}
}

// program is a command on the directory, to be run in a way of its own.
func (d hostDir) program(command string, args ...string) *exec.Cmd {
	return program(append([]string{command, "-D", d.path}, args...)...)
}

func runToEnd(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// watchOutput runs a command to its end and calls then once it has said text on
// its standard output.
func watchOutput(t *testing.T, cmd *exec.Cmd, text string, then func()) result {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }() // if the test ends early
	waitFor(t, stdout, text)
	then()
	rest, err := io.ReadAll(stdout)
	if err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	return result{cmd.ProcessState.ExitCode(), text + string(rest), stderr.String()}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	deadline, pause := time.After(limit), time.NewTicker(10*time.Millisecond)
	defer pause.Stop()
	for !isSo() {
		select {
		case <-pause.C:
		case <-deadline:
			t.Errorf("not so after %v: %s", limit, what)
			return
		}
	}
}
