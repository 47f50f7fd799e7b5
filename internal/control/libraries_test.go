package control

import (
	"testing"

	"github.com/pgexthost/pgexthost/internal/library"
)

func TestABuildWithoutAVersionShowsNone(t *testing.T) {
	for version, want := range map[string]string{"": "/lib/x", "(devel)": "/lib/x", "v1.2.3": "/lib/x (v1.2.3)"} {
		if got := BuildOf("/lib/x", &library.Program{Version: version}).String(); got != want {
			t.Errorf("%q: got %s", version, got)
		}
	}
}
