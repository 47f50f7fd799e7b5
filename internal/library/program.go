package library

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"os"
	"regexp"
	"runtime"
	"strconv"
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

// magic is how a magic block looks in a file, see handshake.MagicBlock. The
// text is taken apart here, or every program that looks for magic blocks had one.
var magic = regexp.MustCompile(strings.Join([]string{"pgexthost", "magic", `block: protocol ([0-9]+), plugin interface ([0-9]+)\.`}, " "))

// Inspect tells without running it whether a file is a library that this host
// can run, and what it says of itself. Name is what the library was called, for
// the messages. The error is an *elog.ErrorData: 42501 or 58P01 if the file
// can't be read or executed, and XX000 with the reason as its HINT if it is no
// library. Mirrors the checks of internal_load_library.
func Inspect(name, file string) (*Program, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, noAccess(name, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, noAccess(name, err)
	} else if !st.Mode().IsRegular() {
		return nil, cannotLoad(name, "it is not a regular file")
	}
	image, err := elf.NewFile(f)
	if err != nil {
		return nil, cannotLoad(name, "invalid ELF header").WithHint("%s", whatIsALibrary).WithCause(err)
	}
	if unix.Access(file, unix.X_OK) != nil {
		return nil, noAccess(name, unix.EACCES).WithHint("The file is not executable: chmod +x %s", file)
	}
	if own, ok := machines[runtime.GOARCH]; ok && image.Machine != own {
		return nil, wrongArchitecture(name, strings.ToLower(strings.TrimPrefix(image.Machine.String(), "EM_")))
	}
	info, err := buildinfo.Read(f)
	if err != nil {
		return nil, missingMagic(name, "It is no Go program.").WithCause(err)
	}
	return inspect(name, image, info)
}

// inspect goes on with what can be read.
func inspect(name string, image *elf.File, info *buildinfo.BuildInfo) (*Program, error) {
	p := describe(info)
	if system := setting(info, "GOOS"); system != runtime.GOOS {
		return nil, wrongArchitecture(name, system+"/"+p.Arch)
	}
	if p.Built == "" {
		return nil, missingMagic(name, "The Go program \""+p.Package+"\" does not use package plugins.")
	}
	block := findMagic(image)
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

// findMagic returns the two numbers of the magic block, or nil if there is
// none. It is among the constants.
func findMagic(image *elf.File) []int {
	for _, s := range image.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_ALLOC == 0 || s.Flags&elf.SHF_EXECINSTR != 0 {
			continue
		}
		data, err := s.Data()
		if err != nil || !bytes.Contains(data, []byte("pgexthost")) {
			continue
		}
		if m := magic.FindSubmatch(data); m != nil {
			protocol, _ := strconv.Atoi(string(m[1]))
			abi, _ := strconv.Atoi(string(m[2]))
			return []int{protocol, abi}
		}
	}
	return nil
}
