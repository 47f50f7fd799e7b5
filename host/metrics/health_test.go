package metrics

import (
	"net/http"
	"testing"

	"github.com/pgexthost/pgexthost/shmem"
)

func TestHealth(t *testing.T) {
	const ok, unavailable = http.StatusOK, http.StatusServiceUnavailable
	for _, tt := range []struct {
		name   string
		change func(f *fakeHost)
		path   string
		status int
		body   string
	}{
		{"a healthy one is ok", func(*fakeHost) {}, "/livez", ok, "ok"},
		{"a ready one is ok", func(*fakeHost) {}, "/readyz", ok, "ok"},
		{"verbose says of what", func(*fakeHost) {}, "/livez?verbose", ok, "[+]postmaster ok\nlivez check passed\n"},
		{"verbose has a line for each check", func(*fakeHost) {}, "/readyz?verbose=1", ok, "[+]postmaster ok\n[+]host ok\n[+]server excluded: ok\nreadyz check passed\n"},
		{"a postmaster that hangs is not alive", func(f *fakeHost) { f.silent = true }, "/livez", unavailable,
			"[-]postmaster failed: it has not answered within 3 s\nlivez check failed\n"},
		{"one that hangs is not ready", func(f *fakeHost) { f.silent = true }, "/readyz", unavailable,
			"[-]postmaster failed: it has not answered within 3 s\n[+]host ok\n[+]server excluded: ok\nreadyz check failed\n"},
		{"one that stops is alive", func(f *fakeHost) { f.stats.Phase = shmem.HostStopping }, "/livez", ok, "ok"},
		{"one that stops is not ready", func(f *fakeHost) { f.stats.Phase = shmem.HostStopping }, "/readyz", unavailable,
			"[+]postmaster ok\n[-]host failed: it is stopping\n[+]server excluded: ok\nreadyz check failed\n"},
		{"one that recovers is not ready", func(f *fakeHost) { f.stats.Phase = shmem.HostRecovering }, "/readyz", unavailable,
			"[+]postmaster ok\n[-]host failed: it is recovering\n[+]server excluded: ok\nreadyz check failed\n"},
		{"one that cannot be read is not ready", func(f *fakeHost) { f.garbled = true }, "/readyz", unavailable,
			"[+]postmaster ok\n[-]host failed: what it says of itself could not be read\n[+]server excluded: ok\nreadyz check failed\n"},
		{"a host without a server is ready", func(f *fakeHost) { f.state = shmem.ServerUnreachable }, "/readyz", ok, "ok"},
		{"and says so", func(f *fakeHost) { f.state = shmem.ServerStarting }, "/readyz?verbose", ok,
			"[+]postmaster ok\n[+]host ok\n[-]server excluded: it is starting: no route to secret.example.com\nreadyz check passed\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeHost()
			tt.change(f)
			if status, body := f.get(ourselves, tt.path); status != tt.status || body != tt.body {
				t.Errorf("got %d, %q, want %d, %q", status, body, tt.status, tt.body)
			}
		})
	}
}

func TestWhereTheServerIsIsNotForEverybody(t *testing.T) {
	f := newFakeHost()
	f.state = shmem.ServerUnreachable
	want := "[+]postmaster ok\n[+]host ok\n[-]server excluded: it is unreachable\nreadyz check passed\n"
	if _, body := f.get(everybody, "/readyz?verbose"); body != want {
		t.Errorf("got %q, want %q", body, want)
	}
}

func TestNothingElseIsServed(t *testing.T) {
	f := newFakeHost()
	for _, path := range []string{"/", "/metrics/", "/debug/pprof/", "/livez/x", "/ps", "/metrics/../ps"} {
		if status, _ := f.get(ourselves, path); status != http.StatusNotFound && status != http.StatusTemporaryRedirect && status != http.StatusMovedPermanently {
			t.Errorf("%s: status %d", path, status)
		}
	}
}
