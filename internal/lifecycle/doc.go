// Package lifecycle is the reference model of a worker's life: what SPEC says
// must happen, said once more and in another way. It is a judge and nothing
// else: tests give the same events to it and to the thing that is judged, and
// compare.
//
// It is meant to be obviously right, not fast. There is no phase, no timer and
// no queue in it: it keeps plain facts about workers, processes and the host,
// and after each event it asks of every fact, in a loop over all of them,
// whether something follows from it now. It shares no code with host/ and must
// not: a mistake they have in common is one that no test finds.
//
// # What it predicts
//
// The effects of each event, as lines such as "slot 3: pid 0" or "SIGTERM to
// 104"; the slots; when the host has to wake up; and what there is to report
// about each worker. An effect belongs to chains, and only the order within a
// chain matters: SPEC says that a slot is released before its waiter is
// notified, and nothing of the order in which two children get their SIGTERM.
//
// # Where SPEC is silent
//
// It then says what PostgreSQL 15 does. Where that has no answer either, the
// choices of the host's documentation are taken over, namely: a start is
// answered later, one at a time; an auxiliary process starts at most once a
// second; a failed start is repeated after 100 ms, then after as long as it has
// been failing, and a worker whose start has failed for good waits for a second
// at least; a worker that keeps losing a server that is there waits 0, 1, 2, 4
// … 60 s.
package lifecycle
