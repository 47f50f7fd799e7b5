package library

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// magic is how a magic block looks in a file, see handshake.MagicBlock. The
// text is taken apart here, or every program that looks for magic blocks had one.
var magic = regexp.MustCompile(strings.Join([]string{"pgexthost", "magic", `block: protocol ([0-9]{1,9}), plugin interface ([0-9]{1,9})\.`}, " "))

// How many bytes are read of a file, which may claim to have any number: the
// host shall neither run out of memory over it nor read for hours. Real
// programs need a small part of the first two, which are held in memory, and Go's
// linker makes no more than the third.
const (
	mostOfHeaders         = 16 << 20
	mostOfBuildInfo       = 256 << 20
	mostOfConstants int64 = 2 << 30
)

var errTooMuch = errors.New("it claims to have more than any program has")

// rationed is a file of which only so much is read.
type rationed struct {
	file io.ReaderAt
	left int64
}

func (r *rationed) ReadAt(p []byte, offset int64) (int, error) {
	if int64(len(p)) > r.left {
		return 0, errTooMuch
	}
	n, err := r.file.ReadAt(p, offset)
	r.left -= int64(n)
	return n, err
}

// findMagic returns the two numbers of the magic block, or nil if there is
// none. It is among the constants.
func findMagic(image *elf.File, file io.ReaderAt) []int {
	left := mostOfConstants
	for _, s := range image.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_ALLOC == 0 || s.Flags&elf.SHF_EXECINSTR != 0 {
			continue
		}
		size := min(int64(min(s.FileSize, 1<<62)), left)
		left -= size
		if block := findIn(io.NewSectionReader(file, int64(s.Offset), size)); block != nil {
			return block
		}
	}
	return nil
}

// longestMagic is more than a magic block has.
const longestMagic = 128

// findIn looks for the magic block in a part of a file, piece by piece: it may
// be far greater than memory.
func findIn(r io.Reader) []int {
	buf := make([]byte, 256<<10)
	kept := 0 // of the piece before, whose end may be the beginning of a block
	for {
		n, err := io.ReadFull(r, buf[kept:])
		text := buf[:kept+n]
		if bytes.Contains(text, []byte("pgexthost")) {
			if m := magic.FindSubmatch(text); m != nil {
				protocol, _ := strconv.Atoi(string(m[1]))
				abi, _ := strconv.Atoi(string(m[2]))
				return []int{protocol, abi}
			}
		}
		if err != nil {
			return nil
		}
		kept = copy(buf, text[len(text)-longestMagic:])
	}
}
