package shmem_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pgexthost/pgexthost/internal/hostile"
	"github.com/pgexthost/pgexthost/shmem"
)

func TestAReloadThatIsAskedForReachesThePostmaster(t *testing.T) {
	s, alarm := newSegment(t, 1, 1)
	if id, name, ok := s.ReloadRequest(); ok {
		t.Errorf("new memory asks for %q (%d)", name, id)
	}
	for id, name := range map[uint64]string{7: "retention", 0: "x", 1 << 63: "/opt/bücher lib/" + strings.Repeat("y", shmem.PathSize-20)} {
		s.RequestReload(alarm, id, name)
		if !s.TakePostmasterSignal(shmem.PMSignalLibraryReload) {
			t.Error("the postmaster was not told")
		}
		if gotID, got, ok := s.ReloadRequest(); !ok || gotID != id || got != name {
			t.Errorf("got %q (%d), %v", got, gotID, ok)
		}
		if s.ReloadAnswered() == id && id != 0 {
			t.Error("it is answered already")
		}
		s.AnswerReload(id)
		if s.ReloadAnswered() != id {
			t.Error("the answer was lost")
		}
	}
}

func TestWhatIsNoNameOfALibraryIsNotReloaded(t *testing.T) {
	s, alarm := newSegment(t, 1, 1)
	for _, name := range []string{"", "a\x00b", "a\nb", "\xff", "\u202e", strings.Repeat("x", shmem.PathSize)} {
		if shmem.MayReload(name) {
			t.Errorf("%q may be reloaded", name)
		}
		s.RequestReload(alarm, 1, name)
		if _, got, ok := s.ReloadRequest(); ok && !shmem.MayReload(got) {
			t.Errorf("%q came out as %q", name, got)
		}
	}
}

// Whatever is in the segment, the postmaster does not take it for a request.
func TestGarbageIsNoRequestForAReload(t *testing.T) {
	s, alarm := newSegment(t, 4, 4)
	own := attachCopy(t, s)
	rnd := rand.New(rand.NewPCG(1, 2))
	g, err := hostile.New(own, alarm, rnd.Uint64(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for range 5_000 {
		what := g.Round()
		if id, name, ok := s.ReloadRequest(); ok {
			t.Fatalf("%s asks for %q (%d)", what, name, id)
		}
	}
}
