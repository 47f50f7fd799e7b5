//go:build linux

package integration

import "testing"

// Without a pause, a declared worker that ends at once would fill the table.
func TestADeclaredWorkerThatEndsAtOnceIsNotLaunchedTwiceInASecond(t *testing.T) {
	skipIfShort(t)
	r := newRequests(t, sharedServer(t))
	h := r.host()
	r.exec(`INSERT INTO pgexthost.worker (name, library, function, restart_time) VALUES ('d', 'effects', 'once', 0)`)
	r.await("SELECT count(*) >= 3 FROM pgexthost.requests WHERE declared = 'd'", "true")
	if got := r.text(`SELECT min(pause) FROM (SELECT requested_at - lag(requested_at) OVER (ORDER BY id) AS pause FROM pgexthost.requests) p
		HAVING min(pause) < interval '0.9 seconds'`); got != "" {
		t.Errorf("two requests within %s", got)
	}
	h.stop()
}

// As long as there is something to do the launcher does it, pass after pass.
func TestABacklogOfRequestsDoesNotKeepTheSlotsFromTheirView(t *testing.T) {
	skipIfShort(t)
	r := newRequests(t, sharedServer(t))
	r.exec(`SELECT count(pgexthost.launch('effects', 'once', main_arg => i)) FROM generate_series(1, 5000) i`)
	h := r.host() // with so many slots that each pass finds something to do
	r.await(`SELECT p.at > (SELECT min(started_at) FROM pgexthost.requests) + interval '1.5 seconds'
			AND EXISTS (SELECT FROM pgexthost.requests WHERE state = 'pending')
			AND EXISTS (SELECT FROM pgexthost.requests WHERE ended_at < p.at) FROM pgexthost.published p`, "true")
	r.exec(`SELECT count(pgexthost.terminate(id)) FROM pgexthost.requests WHERE state = 'pending'`)
	h.stop()
}

// The launcher looks at a thousand pending requests: those behind them wait for a
// slot as well.
func TestLaunchAndWaitGivesUpBehindAnyNumberOfOthers(t *testing.T) {
	r := newRequests(t, sharedServer(t))
	h := r.host(withSetting("max_worker_processes=1"))
	r.exec(`SELECT count(pgexthost.launch('effects', 'stay')) FROM generate_series(1, 1100) i`)
	r.await("SELECT count(*) FROM pgexthost.requests WHERE sqlstate = '53400'", "1000")
	if pid := query[*int](t, r.conninfo(), "CALL pgexthost.launch_and_wait('effects', 'stay', 'too many')"); pid != nil {
		t.Errorf("without a slot: %d", *pid)
	}
	r.await("SELECT state FROM pgexthost.requests WHERE name = 'too many'", "cancelled")
	r.exec("SELECT pgexthost.terminate('effects stay')")
	h.stop()
}
