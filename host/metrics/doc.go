// Package metrics lets Prometheus, Kubernetes and people look at a host: it adds
// HTTP to the host's control server, with /metrics, /livez and /readyz.
//
//	Prometheus ──TCP, metrics_address──► control server ──► shared memory ◄── postmaster: what it has counted
//	curl ──unix socket of the directory──►    │                    ▲
//	                                          └─ "are you there?" ─┘◄── workers: how long launches and logins took
//
// It is a package of its own because of what it links in: the Prometheus client
// library and net/http make every process of a program start a millisecond later, those of
// compiled-in workers included (docs/PERFORMANCE.md). Programs that call
// [Register] pay for it, others don't; libraries that are executables of their own
// never do.
//
// Invariants:
//
//   - Nothing that is served here changes anything.
//   - What is counted is counted by who knows: nothing is lost between two scrapes,
//     however much happens, nor in a crash cycle.
//   - The labels' values are bounded: none comes from a request or from shared
//     memory.
//   - Garbage in shared memory is left out or bounded, and spoils nothing else.
//   - An address that can't be listened at costs that address and nothing else.
package metrics
