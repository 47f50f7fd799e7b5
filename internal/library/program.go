package library

import (
	"debug/buildinfo"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/internal/handshake"
	"github.com/pgexthost/pgexthost/internal/version"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// Program is what an executable library says of itself without being run.
type Program struct {
	Package   string // the import path of its main package
	Module    string // the module that is in
	Version   string // of the module
	Revision  string // of its version control system, or empty; with "+dirty" for changes that were not committed
	Built     string // against which version of this module
	GoVersion string
	Arch      string
	Protocol  int // of the handshake
	ABI       int // of package plugins
}

// Inspect tells without running it whether a file is a library that this host
// can run, and what it says of itself. Name is what the library was called, for
// the messages. The error is an *elog.ErrorData: 42501 or 58P01 if the file
// can't be read or executed, and XX000 with the reason as its HINT if it is no
// library. Mirrors the checks of internal_load_library.
func Inspect(name, file string) (*Program, error) {
	f, mode, report := open(name, file)
	if report != nil {
		return nil, report
	}
	defer f.Close()
	image, err := elf.NewFile(&rationed{file: f, left: mostOfHeaders})
	if err != nil {
		return nil, cannotLoad(name, "invalid ELF header").WithHint("%s", whatIsALibrary).WithCause(err)
	}
	if unix.Access(file, unix.X_OK) != nil {
		return nil, notExecutable(name, file, mode)
	}
	if own, ok := machines[runtime.GOARCH]; ok && image.Machine != own {
		return nil, wrongArchitecture(name, strings.ToLower(strings.TrimPrefix(image.Machine.String(), "EM_")))
	}
	info, err := buildinfo.Read(&rationed{file: f, left: mostOfBuildInfo})
	if err != nil {
		return nil, missingMagic(name, "It is no Go program.").WithCause(err)
	}
	return inspect(name, image, f, info)
}

// open opens a file to read it, whatever it is, without waiting: a pipe would
// have it wait for a writer, and a device may do anything when it is opened.
func open(name, file string) (*os.File, fs.FileMode, *elog.ErrorData) {
	notRegular := func(st fs.FileInfo) *elog.ErrorData {
		if st.Mode().IsRegular() {
			return nil
		}
		return cannotLoad(name, "it is not a regular file").WithHint("%s", whatIsALibrary)
	}
	st, err := os.Stat(file)
	if err != nil {
		return nil, 0, noAccess(name, err)
	}
	if report := notRegular(st); report != nil {
		return nil, 0, report
	}
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, noAccess(name, err)
	}
	if st, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, 0, noAccess(name, err)
	}
	if report := notRegular(st); report != nil { // it has been replaced just now
		_ = f.Close()
		return nil, 0, report
	}
	return f, st.Mode(), nil
}

// notExecutable says why the host may not execute a file that it may read.
func notExecutable(name, file string, mode fs.FileMode) *elog.ErrorData {
	report := noAccess(name, unix.EACCES)
	if mode&0o111 == 0 {
		return report.WithHint("The file is not executable: chmod +x %s", file)
	}
	return report.WithHint("The file \"%s\" is executable, but not for the host's user, or not on its file system, which is mounted with noexec.", file)
}

// inspect goes on with what can be read.
func inspect(name string, image *elf.File, file io.ReaderAt, info *buildinfo.BuildInfo) (*Program, error) {
	p := describe(info)
	if system := setting(info, "GOOS"); system != runtime.GOOS && system != "" {
		return nil, wrongArchitecture(name, system+"/"+p.Arch)
	}
	// Some builds leave out which modules there are (Bazel, garble): then the
	// block is all there is to go by, and the handshake.
	if p.Built == "" && info.Path != "" {
		return nil, missingMagic(name, "The Go program \""+p.Package+"\" does not use package plugins.")
	}
	block := findMagic(image, file)
	if block == nil && info.Path == "" {
		return nil, missingMagic(name, "The main function of the Go program does not call plugins.Main.")
	}
	if block == nil {
		return nil, missingMagic(name, "The main function of \""+p.Package+"\" does not call plugins.Main.")
	}
	p.Protocol, p.ABI = block[0], block[1]
	if err := CheckVersions(name, p.Protocol, p.ABI); err != nil {
		return nil, err.WithHint("Build it again with version %s of %s, which this host is built from.", version.Number, handshake.Module)
	}
	return p, nil
}

// DataSize returns how much memory the variables of a program take, in bytes,
// used or not. The error is that of the file.
func DataSize(file string) (size int64, err error) {
	image, err := elf.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = image.Close() }()
	for _, p := range image.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_W != 0 {
			size += int64(p.Memsz)
		}
	}
	return size, nil
}

// CheckVersions compares what a library was built with to what the host has,
// and returns nil if they match.
func CheckVersions(name string, protocol, abi int) *elog.ErrorData {
	incompatible := func(what string) *elog.ErrorData {
		return elog.New(elog.Error, elog.InternalError, "incompatible library \"%s\": %s", name, what)
	}
	switch {
	case protocol != handshake.ProtocolVersion:
		return incompatible("version mismatch").WithDetail("Server is version %d, library is version %d.", handshake.ProtocolVersion, protocol)
	case abi != handshake.ABIVersion:
		return incompatible("ABI mismatch").WithDetail("Server has ABI \"%d\", library has \"%d\".", handshake.ABIVersion, abi)
	}
	return nil
}

const whatIsALibrary = "A library is an executable: a Go program whose main function calls plugins.Main."

func cannotLoad(name, reason string) *elog.ErrorData {
	return elog.New(elog.Error, elog.InternalError, "could not load library \"%s\": %s", name, reason)
}

// machines are the ELF machines of Go's architectures.
var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64, "loong64": elf.EM_LOONGARCH,
	"ppc64": elf.EM_PPC64, "ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

func wrongArchitecture(name, other string) *elog.ErrorData {
	return cannotLoad(name, "wrong architecture").WithDetail("The host runs on %s/%s, the library is for %s.", runtime.GOOS, runtime.GOARCH, other).
		WithHint("Build it with GOOS=%s GOARCH=%s.", runtime.GOOS, runtime.GOARCH)
}

func missingMagic(name, why string) *elog.ErrorData {
	return elog.New(elog.Error, elog.InternalError, "incompatible library \"%s\": missing magic block", name).
		WithDetail("%s", why).WithHint("%s", whatIsALibrary)
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func describe(info *buildinfo.BuildInfo) *Program {
	p := &Program{
		Package: info.Path, Module: info.Main.Path, Version: info.Main.Version, GoVersion: info.GoVersion,
		Arch: setting(info, "GOARCH"), Revision: setting(info, "vcs.revision"),
	}
	if p.Revision != "" && setting(info, "vcs.modified") == "true" {
		p.Revision += "+dirty"
	}
	if info.Main.Path == handshake.Module {
		p.Built = info.Main.Version
		if p.Built == "" {
			p.Built = "(devel)"
		}
		return p
	}
	for _, dep := range info.Deps {
		if dep.Path == handshake.Module {
			p.Built = dep.Version
			if dep.Replace != nil && dep.Replace.Version != "" {
				p.Built = dep.Replace.Version
			}
		}
	}
	return p
}
