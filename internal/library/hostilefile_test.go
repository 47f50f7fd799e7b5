//go:build linux

package library_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/library"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Whoever looks at a library's file is the goroutine that starts all processes.
func TestAPipeOrADeviceIsNoLibraryAndNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{pipe, "/dev/zero", "/dev/tty", "/dev/ptmx"} {
		link := filepath.Join(dir, filepath.Base(target)+".link")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		_, err := library.Inspect("lib", link)
		var report *elog.ErrorData
		if !errors.As(err, &report) || report.Message != `could not load library "lib": it is not a regular file` || report.Hint == "" {
			t.Errorf("%s: got %v", target, err)
		}
	}
}

// inflate makes a program claim that each part of it for which chosen says so has
// so many bytes, which are zero.
func inflate(t *testing.T, program []byte, size uint64, chosen func(elf.Section64) bool) string {
	t.Helper()
	inflated := bytes.Clone(program)
	var header elf.Header64
	if _, err := binary.Decode(program, binary.LittleEndian, &header); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(header.Shnum) {
		at := header.Shoff + i*uint64(header.Shentsize)
		var section elf.Section64
		if _, err := binary.Decode(program[at:], binary.LittleEndian, &section); err != nil {
			t.Fatal(err)
		}
		if chosen(section) {
			section.Off, section.Size = uint64(len(program)), size
			if _, err := binary.Encode(inflated[at:], binary.LittleEndian, section); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := write(t, inflated, 0o700)
	if err := os.Truncate(file, int64(len(program))+int64(size)); err != nil { // takes no room on the disk
		t.Fatal(err)
	}
	return file
}

func TestAFileThatClaimsGigabytesCostsTheHostNoMemory(t *testing.T) {
	const gigabytes = 3 << 30
	good := build(t, "cmd/worker_spi")
	if len(good) < 64 || good[elf.EI_CLASS] != byte(elf.ELFCLASS64) || good[elf.EI_DATA] != byte(elf.ELFDATA2LSB) {
		t.Skip("the test makes 64-bit little-endian programs only")
	}
	for name, tt := range map[string]struct {
		chosen func(elf.Section64) bool
		want   string
	}{
		"names of sections": {func(s elf.Section64) bool { return s.Type == uint32(elf.SHT_STRTAB) }, `could not load library "lib": invalid ELF header`},
		"constants": {func(s elf.Section64) bool {
			return s.Type == uint32(elf.SHT_PROGBITS) && s.Flags == uint64(elf.SHF_ALLOC)
		}, `incompatible library "lib": missing magic block`},
	} {
		file := inflate(t, good, gigabytes, tt.chosen)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := library.Inspect("lib", file)
		runtime.ReadMemStats(&after)
		var report *elog.ErrorData
		if !errors.As(err, &report) || report.Message != tt.want {
			t.Errorf("%s: got %v", name, err)
		}
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 512 {
			t.Errorf("%s: %d MB were allocated", name, mb)
		}
	}
}

// Bazel and garble leave out the list of modules.
func TestALibraryNeedNotSayWhichModulesItIsMadeOf(t *testing.T) {
	anonymous := func(program []byte) string {
		const blob = "\xff Go buildinf:"
		at := bytes.Index(program, []byte(blob))
		if at < 0 {
			t.Fatal("the program has no build information")
		}
		version := at + 32 // its length, the version, the length of the list, the list
		list := version + 1 + int(program[version])
		if program[version] > 0x7f {
			t.Fatal("the version is too long")
		}
		p := bytes.Clone(program)
		p[list] = 0
		return write(t, p, 0o700)
	}
	p, err := library.Inspect("lib", anonymous(build(t, "cmd/worker_spi")))
	if err != nil || p.Protocol != handshake.ProtocolVersion || p.ABI != handshake.ABIVersion || p.Package != "" {
		t.Errorf("got %+v, %v", p, err)
	}
	_, err = library.Inspect("lib", anonymous(build(t, "examples/janitor")))
	var report *elog.ErrorData
	if !errors.As(err, &report) || report.Message != `incompatible library "lib": missing magic block` || !strings.Contains(report.Detail, "does not call plugins.Main") {
		t.Errorf("got %v", err)
	}
}

func TestAFileSystemWithoutExecutablesIsNamedAsTheReason(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOEXEC, ""); err != nil {
		t.Skip("this user may mount nothing: ", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	file := filepath.Join(dir, "lib")
	if err := os.WriteFile(file, build(t, "cmd/worker_spi"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := library.Inspect("lib", file)
	var report *elog.ErrorData
	if !errors.As(err, &report) || report.Message != `could not access file "lib": Permission denied` || !strings.Contains(report.Hint, "noexec") {
		t.Errorf("got %#v", report)
	}
}
