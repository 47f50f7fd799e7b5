package library_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// build builds a program of this module and returns its contents.
func build(t *testing.T, pkg string, flags ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "built")
	args := append([]string{"build", "-o", file}, flags...)
	cmd := exec.Command("go", append(args, handshake.Module+"/"+pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return read(t, file)
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, text []byte, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lib")
	if err := os.WriteFile(file, text, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAnExecutableLibrarySaysWhatItIs(t *testing.T) {
	for name, flags := range map[string][]string{"plain": nil, "stripped": {"-trimpath", "-ldflags=-s -w"}, "position independent": {"-buildmode=pie"}} {
		p, err := library.Inspect("spi", write(t, build(t, "cmd/worker_spi", flags...), 0o700))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Package != handshake.Module+"/cmd/worker_spi" || p.Module != handshake.Module || p.Arch != runtime.GOARCH ||
			p.Protocol != handshake.ProtocolVersion || p.ABI != handshake.ABIVersion || p.GoVersion != runtime.Version() {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}

func TestWhatIsNoLibraryIsToldWithoutRunningIt(t *testing.T) {
	good := build(t, "cmd/worker_spi")
	block := []byte(handshake.MagicBlock)
	patched := func(old, by []byte) []byte {
		if !bytes.Contains(good, old) {
			t.Fatalf("the library does not contain %q", old)
		}
		return bytes.ReplaceAll(good, old, by)
	}
	foreign := bytes.Clone(good)
	machine := elf.EM_S390
	if runtime.GOARCH == "s390x" {
		machine = elf.EM_X86_64
	}
	binary.LittleEndian.PutUint16(foreign[18:], uint16(machine))
	last := func(c byte) []byte { return append(bytes.Clone(block[:len(block)-2]), c, '.') }
	older := bytes.Replace(block, []byte("protocol 1"), []byte("protocol 0"), 1)
	script, err := exec.LookPath("ls")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text          []byte
		mode          os.FileMode
		want, details string
	}{
		"empty":              {nil, 0o700, `could not load library "lib": invalid ELF header`, ""},
		"a script":           {[]byte("#!/bin/sh\n"), 0o700, `could not load library "lib": invalid ELF header`, ""},
		"cut off":            {good[:4096], 0o700, `could not load library "lib": invalid ELF header`, ""},
		"not executable":     {good, 0o600, `could not access file "lib": Permission denied`, ""},
		"another machine":    {foreign, 0o700, `could not load library "lib": wrong architecture`, ""},
		"a C program":        {read(t, script), 0o700, `incompatible library "lib": missing magic block`, "It is no Go program."},
		"a stranger":         {read(t, filepath.Join(runtime.GOROOT(), "bin", "go")), 0o700, `incompatible library "lib": missing magic block`, `The Go program "cmd/go" does not use package plugins.`}, //nolint:staticcheck // the go tool that runs the test
		"a host":             {build(t, "examples/janitor"), 0o700, `incompatible library "lib": missing magic block`, `The main function of "github.com/pgexthost/pgexthost/examples/janitor" does not call plugins.Main.`},
		"pgexthost itself":   {build(t, "cmd/pgexthost"), 0o700, `incompatible library "lib": missing magic block`, `The main function of "github.com/pgexthost/pgexthost/cmd/pgexthost" does not call plugins.Main.`},
		"another ABI":        {patched(block, last('0')), 0o700, `incompatible library "lib": ABI mismatch`, `Server has ABI "1", library has "0".`},
		"another protocol":   {patched(block, older), 0o700, `incompatible library "lib": version mismatch`, `Server is version 1, library is version 0.`},
		"without its number": {patched(block, last('x')), 0o700, `incompatible library "lib": missing magic block`, ""},
	} {
		_, err := library.Inspect("lib", write(t, tt.text, tt.mode))
		var report *elog.ErrorData
		if !errors.As(err, &report) || report.Message != tt.want || tt.details != "" && report.Detail != tt.details || report.Hint == "" {
			t.Errorf("%s: got %#v", name, report)
		}
	}
	if _, err := library.Inspect("lib", t.TempDir()); err == nil || err.Error() != `could not load library "lib": it is not a regular file` {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := library.Inspect("lib", filepath.Join(t.TempDir(), "none")); elog.CodeOf(err) != elog.UndefinedFile {
		t.Errorf("no file: got %v", err)
	}
}
