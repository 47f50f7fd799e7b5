package shmem_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestAttachSeesWhatTheMakerWrote(t *testing.T) {
	s, _ := newSegment(t, 3, 2)
	s.PostmasterSlots().Init(1, shmem.Descriptor{Name: "n", MainArg: -7})
	other := attachCopy(t, s)
	if other.Incarnation() != s.Incarnation() || other.Incarnation() == 0 {
		t.Errorf("incarnation: got %x, want %x", other.Incarnation(), s.Incarnation())
	}
	if other.PostmasterPid() != os.Getpid() || other.ProcCount() != 2 {
		t.Errorf("got postmaster %d, %d records", other.PostmasterPid(), other.ProcCount())
	}
	slots := other.PostmasterSlots()
	if slots.Len() != 3 || slots.TotalSlots() != 3 || !slots.InUse(1) || slots.InUse(0) {
		t.Error("the slots differ")
	}
	if d := slots.Descriptor(1); d.Name != "n" || d.MainArg != -7 {
		t.Errorf("got %+v", d)
	}
}

func attachCopy(t *testing.T, s *shmem.Segment) *shmem.Segment {
	t.Helper()
	fd, err := unix.Dup(int(s.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	other, err := shmem.Attach(os.NewFile(uintptr(fd), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	return other
}

func TestEverySegmentIsAnotherIncarnation(t *testing.T) {
	a, _ := newSegment(t, 1, 1)
	b, _ := newSegment(t, 1, 1)
	if a.Incarnation() == b.Incarnation() {
		t.Error("two segments have the same incarnation")
	}
}

func TestSegmentCannotBeResized(t *testing.T) {
	s, _ := newSegment(t, 1, 1)
	if err := s.File().Truncate(0); !errors.Is(err, unix.EPERM) {
		t.Errorf("shrinking: got %v, want EPERM", err)
	}
	if err := s.File().Truncate(1 << 20); !errors.Is(err, unix.EPERM) {
		t.Errorf("growing: got %v, want EPERM", err)
	}
}

func TestAttachRefusesStrangers(t *testing.T) {
	for name, tt := range map[string]struct {
		offset int64
		bytes  []byte
		want   error
	}{
		"magic":       {0, []byte{0xff}, shmem.ErrNotSegment},
		"version":     {8, []byte{0xff}, shmem.ErrVersion},
		"layout":      {16, []byte{0xff, 0xff}, shmem.ErrLayout},
		"slot count":  {56, []byte{0xff, 0xff, 0xff, 0xff}, shmem.ErrNotSegment},
		"other count": {56, []byte{9}, shmem.ErrNotSegment},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSegment(t, 1, 1)
			if _, err := s.File().WriteAt(tt.bytes, tt.offset); err != nil {
				t.Fatal(err)
			}
			if _, err := shmem.Attach(s.File()); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("empty file", func(t *testing.T) {
		f, err := os.Create(t.TempDir() + "/empty")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shmem.Attach(f); !errors.Is(err, shmem.ErrNotSegment) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("pipe", func(t *testing.T) {
		r, _, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shmem.Attach(r); !errors.Is(err, shmem.ErrNotSegment) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCreateRefusesImpossibleSizes(t *testing.T) {
	for _, n := range [][2]int{{-1, 1}, {shmem.MaxSlots + 1, 1}, {1, 0}, {1, shmem.MaxSlots + 65}} {
		if s, err := shmem.Create(n[0], n[1]); err == nil {
			t.Errorf("%v: got a segment", n)
			_ = s.Close()
		}
	}
}

func TestTheLargestSegmentCostsNoMemoryUntilUsed(t *testing.T) {
	s := create(t, shmem.MaxSlots, shmem.MaxSlots)
	s.PostmasterSlots().Init(shmem.MaxSlots-1, shmem.Descriptor{Name: "last"})
	var st unix.Stat_t
	if err := unix.Fstat(int(s.File().Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if used := st.Blocks * 512; used > 1<<20 {
		t.Errorf("it uses %d bytes of %d", used, st.Size)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
