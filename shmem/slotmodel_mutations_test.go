package shmem_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mutation is a protocol that is not ours.
type mutation struct {
	name  string
	apply func(m *model)
	found string // a pattern of what the model must find; empty: it is as good as ours
}

// What the model finds.
const (
	torn         = `^torn descriptor$`
	wrongStatus  = `^status that the worker never had|^pid of another worker$`
	wrongEnd     = `^termination of a worker that nobody wanted to end$`
	wrongCount   = `^counters: |^cap: `
	lostClaim    = `^lost registration`
	lostEnd      = `^lost termination`
	lostWakeUp   = `^lost wake-up`
	slotTaken    = `^slot: `
	lostSlot     = `^lost slot`
	anothersEnd  = `^handle: `
	claimedTwice = `^slot claimed twice$`
)

// anyOf is for what breaks more than one promise.
func anyOf(patterns ...string) string {
	all := patterns[0]
	for _, p := range patterns[1:] {
		all += "|" + p
	}
	return all
}

// reorderings are all mutations of a program that delay one of the steps beyond
// a later one. Found says what comes of delaying a step; harmless, which delays
// do no harm.
func reorderings(of string, steps []string, found map[string]string, harmless func(delayed, behind string) bool, change func(m *model, f func(program) program)) (all []mutation) {
	for i, delayed := range steps {
		for _, behind := range steps[i+1:] {
			mu := mutation{name: fmt.Sprintf("%s: %s behind %s", of, delayed, behind), found: found[delayed]}
			if harmless != nil && harmless(delayed, behind) {
				mu.found = ""
			}
			mu.apply = func(m *model) { change(m, func(p program) program { return p.after(delayed, behind) }) }
			all = append(all, mu)
		}
	}
	return all
}

func changeClaim(m *model, f func(program) program) {
	m.backend[opClaim], m.backend[opClaimParallel] = f(m.backend[opClaim]), f(m.backend[opClaimParallel])
}

func change(op operation) func(m *model, f func(program) program) {
	return func(m *model, f func(program) program) { m.backend[op] = f(m.backend[op]) }
}

func storesOutOfOrder() []mutation {
	// What fills a slot that is nobody's: only the store to in_use shows it, and
	// that comes last, so it may come in any order.
	filling := []string{
		"worker.store, first half", "worker.store, second half", "pid.Store", "generation.Add", "parallelRegister.Add",
	}
	unlocking := func(delayed, _ string) bool { return delayed == "unlock" } // late is not too late
	claim := reorderings("Claim", append(slices.Clone(filling), "inUse.Store", "unlock", "changes.Or", "pmSignals.Store", "Ring"),
		map[string]string{
			"worker.store, first half": torn, "worker.store, second half": torn, "pid.Store": anyOf(wrongStatus, lostSlot),
			"generation.Add": anyOf(wrongStatus, wrongEnd, lostEnd, lostSlot, anothersEnd), "parallelRegister.Add": wrongCount,
			"inUse.Store": anyOf(lostClaim, claimedTwice, wrongCount), "changes.Or": lostClaim, "pmSignals.Store": lostClaim,
		},
		func(delayed, behind string) bool {
			return unlocking(delayed, behind) || slices.Contains(filling, delayed) && slices.Contains(filling, behind)
		}, changeClaim)
	terminate := reorderings("RequestTermination", []string{"terminate.Store", "unlock", "changes.Or", "pmSignals.Store", "Ring"},
		map[string]string{"terminate.Store": lostEnd, "changes.Or": lostEnd, "pmSignals.Store": lostEnd}, unlocking, change(opTerminate))
	// That the counters say too much refuses nobody, so the release may come first.
	retire := reorderings("exit", []string{"SetPid", "parallelTerminate.Add", "inUse.Store", "Notify"},
		map[string]string{"SetPid": wrongStatus, "inUse.Store": slotTaken},
		func(delayed, behind string) bool { return delayed == "SetPid" && behind == "parallelTerminate.Add" }, // both before in_use
		func(m *model, f func(program) program) { m.retire = f(m.retire) })
	report := []string{"SetPid", "Notify"}
	late := map[string]string{"SetPid": lostWakeUp}
	start := reorderings("start", report, late, nil, func(m *model, f func(program) program) { m.start = f(m.start) })
	exit := reorderings("exit before a restart", report, late, nil, func(m *model, f func(program) program) { m.exit = f(m.exit) })
	return slices.Concat(claim, terminate, retire, start, exit)
}

func loadsOutOfOrder() []mutation {
	look := reorderings("Pid", []string{"pid.Load", "inUse.Load", "generation.Load"},
		map[string]string{"pid.Load": wrongStatus, "inUse.Load": wrongStatus}, nil, change(opLook))
	// The flag may be read late: if it is another worker's by then, there was a
	// release meanwhile, and the notification of that is still to come.
	await := reorderings("Terminating", []string{"terminate.Load", "inUse.Load again", "generation.Load again"},
		map[string]string{"inUse.Load again": lostWakeUp},
		func(delayed, _ string) bool { return delayed == "terminate.Load" }, change(opAwaitEnd))
	return append(look, await...)
}

func stepsLeftOut() (all []mutation) {
	without := func(of, name, found string, change func(m *model, f func(program) program)) {
		all = append(all, mutation{of + ": without " + name, func(m *model) {
			change(m, func(p program) program {
				if name == "lock" {
					p = p.without("unlock")
				}
				return p.without(name)
			})
		}, found})
	}
	without("Claim", "lock", anyOf(claimedTwice, wrongEnd, torn, wrongCount, lostEnd), changeClaim)
	without("Claim", "parallelRegister.Load parallelTerminate.Load", wrongCount, changeClaim)
	without("Claim", "changes.Or", lostClaim, changeClaim)
	without("Claim", "Ring", lostClaim, changeClaim)
	without("RequestTermination", "lock", anyOf(lostEnd, wrongCount, claimedTwice, torn), change(opTerminate))
	without("RequestTermination", "generation.Load", lostEnd, change(opTerminate))
	without("RequestTermination", "changes.Or", lostEnd, change(opTerminate))
	without("RequestTermination", "Ring", lostEnd, change(opTerminate))
	for _, load := range []string{"pid.Load", "inUse.Load", "generation.Load"} {
		without("Pid", load, wrongStatus, change(opLook))
	}
	for _, load := range []string{"terminate.Load", "inUse.Load again", "generation.Load again"} {
		without("Terminating", load, lostWakeUp, change(opAwaitEnd))
	}
	return all
}

func otherMutations() []mutation {
	return []mutation{
		{"none", func(*model) {}, ""},
		{"the postmaster forgets why it was woken after it has looked", func(m *model) { m.clearsLate = true }, anyOf(lostClaim, lostEnd)},
		{"the postmaster does not look whether a slot is still in use", func(m *model) {
			m.scan[m.scan.index("InUse")].do = func(s *state, i int) (next, string) {
				if s.slot[i].inUse == 0 {
					return finish, ""
				}
				return advance, ""
			}
		}, anyOf(lostSlot, lostEnd)},
		{"the postmaster does not look whether a slot has its generation", func(m *model) {
			m.scan[m.scan.index("Generation")].do = func(s *state, i int) (next, string) {
				if pm := &s.postmaster; pm.known[i] == 0 {
					pm.gen[i] = s.slot[i].generation
				}
				return advance, ""
			}
		}, anyOf(lostSlot, lostEnd)},
		{"a slot that was stolen is released with its generation", func(m *model) {
			m.retire[m.retire.index("inUse.Store")].do = func(s *state, i int) (next, string) { s.slot[i].inUse = 0; return advance, "" }
		}, anyOf(anothersEnd, claimedTwice, lostEnd)},
		{"a termination does not name whom it means", func(m *model) {
			p := m.scan
			look := p[p.index("Terminate")].do
			p[p.index("Terminate")].do = func(s *state, i int) (next, string) {
				if s.slot[i].terminate != 0 {
					s.slot[i].terminate = s.postmaster.gen[i]
				}
				return look(s, i)
			}
		}, wrongEnd},
		{"the postmaster takes the changes before the reason", func(m *model) {
			m.signal = m.signal.after("pmSignals.Swap", "changes.Swap")
		}, anyOf(lostClaim, lostEnd)},
		{"the latch is reset after the look", func(m *model) {
			for _, op := range []operation{opAwaitStart, opAwaitEnd} {
				early := step{name: "ResetLatch before", do: func(s *state, b int) (next, string) { s.latch[b] = 0; return advance, "" }}
				m.backend[op] = slices.Insert(m.backend[op], m.backend[op].index("WaitLatch"), early)
			}
		}, lostWakeUp},
		{"who waits for the end of a terminated worker goes when it has stopped", func(m *model) {
			p := m.backend[opAwaitEnd]
			over := p[p.index("is over")].do
			p[p.index("terminate.Load")].do = func(s *state, b int) (next, string) {
				if be := &s.backend[b]; !be.fail {
					be.val = pidInvalid
					return over(s, b)
				}
				return advance, ""
			}
		}, slotTaken},
	}
}

// The model finds every protocol that is wrong, and no fault with those that
// are not: each order of stores that the code keeps is there for a reason, or
// is known not to matter.
func TestTheModelTellsWrongProtocolsFromRightOnes(t *testing.T) {
	if underRace {
		t.Skip("a model is one goroutine: there is nothing to find for the race detector")
	}
	for _, mu := range slices.Concat(otherMutations(), storesOutOfOrder(), loadsOutOfOrder(), stepsLeftOut(), gateMutations()) {
		t.Run(mu.name, func(t *testing.T) {
			t.Parallel()
			worlds := []world{alone, parallels, lookers, awaiters, recyclers, thefts, late}
			if strings.HasPrefix(mu.name, "gate") {
				worlds = []world{held, heldEnds}
			}
			switch {
			case mu.found != "": // soon
			case os.Getenv(deepModel) == "":
				t.Skip("what does not matter takes a whole search to show")
			case strings.HasPrefix(mu.name, "gate"):
			case strings.HasPrefix(mu.name, "RequestTermination"):
				worlds = append(worlds[:3], late)
			case !strings.HasPrefix(mu.name, "Terminating"): // the next two worlds are those of waits
				worlds = worlds[:3]
			}
			for _, w := range worlds {
				m := newModel(w)
				mu.apply(m)
				_, violation, path := m.explore()
				switch {
				case violation == "":
				case mu.found == "":
					t.Fatal("it was thought to be right: " + describe(violation, path))
				case regexp.MustCompile(mu.found).MatchString(violation):
					return
				default:
					t.Fatalf("something else is wrong than %s: %s", mu.found, describe(violation, path))
				}
			}
			if mu.found != "" {
				t.Error("the model has found nothing")
			}
		})
	}
}
