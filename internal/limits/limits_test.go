package limits_test

import (
	"slices"
	"testing"

	"github.com/pgexthost/pgexthost/internal/limits"
)

// The path by which a library is asked for does not rid it of its limits.
func TestALibraryHasTheLimitsOfItsFileElseOfItsNameElseOfTheOthers(t *testing.T) {
	table, err := limits.Parse("queue: nice=1; /opt/x/queue: nice=2; free:; *: nice=3")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file string
		nice       int // 0: no limits
	}{
		{"queue", "", 1},
		{"", "/usr/lib/queue", 1},
		{"", "/usr/lib/../lib/queue", 1},
		{"", "/opt/x/queue", 2},
		{"", "/opt//x/./queue", 2},
		{"", "/opt/x/other", 3},
		{"other", "", 3},
		{"queue", "/opt/x/other", 3},
		{"free", "", 0},
	} {
		l := table.Of(tt.name, tt.file)
		switch {
		case l == nil && tt.nice == 0:
		case l == nil || l.Nice == nil || *l.Nice != tt.nice:
			t.Errorf("%q %q: got %+v", tt.name, tt.file, l)
		}
	}
	if l := table[:1].Of("other", ""); l != nil {
		t.Errorf("without others: got %+v", l)
	}
}

func TestTheEnvironmentIsChanged(t *testing.T) {
	env := []string{"HOME=/root", "GOMEMLIMIT=1GiB", "PGPASSWORD=secret", "TZ=UTC"}
	for text, want := range map[string][]string{
		"a: env.TZ= env.PGPASSWORD env.X=1": {"HOME=/root", "GOMEMLIMIT=1GiB", "TZ=", "X=1"},
		"a: memory=100MB":                   {"HOME=/root", "PGPASSWORD=secret", "TZ=UTC", "GOMEMLIMIT=94371840"},
		"a: memory=100MB env.GOMEMLIMIT=5":  {"HOME=/root", "PGPASSWORD=secret", "TZ=UTC", "GOMEMLIMIT=5"},
		"a: memory=100MB env.GOMEMLIMIT":    {"HOME=/root", "PGPASSWORD=secret", "TZ=UTC"},
	} {
		table, err := limits.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := table[0].Environment(env); !slices.Equal(got, want) {
			t.Errorf("%s: got %q", text, got)
		}
	}
}
