package shmem_test

// model is what processes of the model run: the programs, as they are or
// mutated, and the world they run in.
type model struct {
	world
	backend    [numOperations]program
	signal     program // what the postmaster does when it is woken
	scan       program // BackgroundWorkerStateChange, for one slot
	start      program // report of a start
	exit       program // report of an exit that a restart follows
	retire     program // report of the end, and release
	restore    program // of a slot that garbage has made free
	gate       program // a held worker before main
	clearsLate bool    // a mutation: the reason is cleared after the scan

	beginsEarly bool // a mutation: a process may be at its gate before its pid is in the slot
}

// world bounds what happens.
type world struct {
	does     [modelBackends]backendsPart
	restarts bool // workers are started again, once
	stops    bool // the postmaster begins a shutdown at some time
	thefts   uint8
	held     bool // workers wait at their gates
}

// backendsPart is how many operations a backend makes, of what kinds.
type backendsPart struct {
	times uint8
	of    []operation
}

func newModel(w world) *model {
	m := &model{
		world:  w,
		signal: wakeProgram(), scan: scanProgram(), start: reportProgram(true), exit: reportProgram(false), retire: retireProgram(), restore: restoreProgram(),
		gate: gateProgram(),
	}
	m.backend = [numOperations]program{
		opClaim: claimProgram(), opClaimParallel: claimProgram(), opLook: lookProgram(), opTerminate: terminateProgram(),
		opAwaitStart: awaitProgram(false), opAwaitEnd: awaitProgram(true), opRelease: openProgram(),
	}
	return m
}

func (m *model) initial() state {
	s := state{registered: countWrap - 1, ended: countWrap - 1, thefts: m.thefts} // about to wrap
	for b := range s.backend {
		s.backend[b].left = m.does[b].times
	}
	return s
}

// transitions returns all that can happen next.
func (m *model) transitions(s *state) []transition {
	var ts []transition
	for b := range s.backend {
		if be := &s.backend[b]; be.op != opNone {
			ts = append(ts, transition{m.stepName(be), b, false, func(s *state) string { return m.backendStep(s, b) }})
		} else if be.left > 0 {
			ts = append(ts, m.choices(s, b)...)
		}
	}
	return append(append(append(ts, s.garbage()...), m.childSteps(s)...), m.postmasterSteps(s)...)
}

// choices are the operations a backend may begin, each with its first step:
// registrations, and whatever can be done with a handle that is known. Only who
// is notified waits.
func (m *model) choices(s *state, b int) (ts []transition) {
	begin := func(op operation, id uint8) {
		ts = append(ts, transition{op.String() + ": " + m.backend[op][0].name, b, false, func(s *state) string {
			be := &s.backend[b]
			be.op, be.claim = op, id
			be.left--
			switch c := s.of(max(id, 1)); op {
			case opTerminate:
				c.asked = true
			case opRelease:
				c.mayPass = c.mayPass || !c.granted
			}
			be.sure = op == opAwaitEnd && s.of(id).granted
			s.remember()
			return m.backendStep(s, b)
		}})
	}
	for _, op := range m.does[b].of {
		if op.claims() {
			begin(op, 0)
			continue
		}
		for id := uint8(1); id <= s.claims; id++ {
			if c := s.of(id); c.out && (int(c.by) == b || op != opAwaitStart && op != opAwaitEnd) {
				begin(op, id)
			}
		}
	}
	return ts
}

// backendStep takes the next step of a backend's operation, and those that
// concern nobody else with it.
func (m *model) backendStep(s *state, b int) string {
	be := &s.backend[b]
	if be.pc == letGo {
		s.lock = 0
		return s.end(b)
	}
	p := m.backend[be.op]
	for first := true; first || p[be.pc].local; first = false {
		be.pc++
		then, violation := p[be.pc-1].do(s, b)
		switch {
		case violation != "":
			return violation
		case then == wait:
			return blocked
		case then == failing:
			be.pc, be.fail = letGo, true
			return ""
		case then == again:
			be.pc = 0
			return ""
		case then == finish, int(be.pc) == len(p):
			return s.end(b)
		}
	}
	return ""
}

func (m *model) stepName(be *modelBackend) string {
	if be.pc == letGo {
		return "unlock"
	}
	return m.backend[be.op][be.pc].name
}

// letGo is the pc of who gives the lock back because there is nothing to do.
const letGo = 255

// end is the return from an operation.
func (s *state) end(b int) string {
	be := s.backend[b]
	s.backend[b] = modelBackend{left: be.left}
	if be.fail {
		return ""
	}
	switch be.op {
	case opClaim, opClaimParallel:
		c := s.of(be.claim)
		for id := uint8(1); id <= s.claims; id++ {
			if o := s.of(id); o.out && o.slot == c.slot && o.generation == c.generation {
				return "slot claimed twice"
			}
		}
		c.out = true
	case opTerminate:
		s.of(be.claim).granted = true
	case opRelease:
		s.of(be.claim).released = true
	}
	return ""
}

// mode is what the postmaster is about.
type mode uint8

const (
	modeIdle mode = iota
	modeSignal
	modeScan
	modeExecute
)

// plan is what the postmaster has decided to do about a slot, after the scan.
type plan uint8

const (
	planNone plan = iota
	planStart
	planExit
	planRetire
)

func (m *model) program(p plan) program { return [...]program{nil, m.start, m.exit, m.retire}[p] }

func (m *model) postmasterSteps(s *state) []transition {
	pm := &s.postmaster
	run := func(p program, then func(s *state, n next)) []transition {
		st := p[pm.pc]
		return []transition{{st.name, postmasterActs, false, func(s *state) string {
			n, violation := st.do(s, int(s.postmaster.slot))
			if n == wait {
				return blocked
			}
			if s.postmaster.pc++; int(s.postmaster.pc) == len(p) && n == advance {
				n = finish
			}
			then(s, n)
			return violation
		}}}
	}
	switch pm.mode {
	case modeSignal:
		return run(m.signal, func(s *state, n next) { m.signalled(s, n) })
	case modeScan:
		return run(m.scan, func(s *state, n next) {
			if n == finish {
				m.scanned(s)
			}
		})
	case modeExecute:
		if pm.restore[pm.slot] {
			return run(m.restore, func(s *state, n next) {
				if n == finish {
					s.postmaster.restore[s.postmaster.slot] = false
					m.execute(s)
				}
			})
		}
		return run(m.program(pm.plan[pm.slot]), func(s *state, n next) {
			if n == finish {
				pm := &s.postmaster
				s.of(pm.claim[pm.slot]).before = phaseNone
				pm.plan[pm.slot], pm.claim[pm.slot] = planNone, 0
				m.execute(s)
			}
		})
	}
	return append(m.events(s), run(m.signal, func(s *state, n next) {
		s.postmaster.mode = modeSignal
		m.signalled(s, n)
	})...)
}

// signalled goes on after a step of the signal program, which ends with the
// scan of the slots that have changed or, without a note, at once.
func (m *model) signalled(s *state, n next) {
	pm := &s.postmaster
	switch n {
	case finish:
		pm.mode, pm.pc, pm.slot = modeScan, 0, 0
		if m.clearsLate {
			s.note = 1
		}
		if pm.look == [modelSlots]bool{} { // nobody has said which
			pm.look = [modelSlots]bool{true, true}
		}
		pm.skip()
	case failing:
		pm.mode, pm.pc = modeIdle, 0
	}
}

// scanned goes on with the next slot, or with what the scan has decided.
func (m *model) scanned(s *state) {
	pm := &s.postmaster
	pm.pc, pm.name, pm.look[pm.slot] = 0, 0, false
	if pm.skip(); pm.slot < modelSlots {
		return
	}
	if m.clearsLate {
		s.note = 0
	}
	m.execute(s)
}

// skip goes on to the next slot to look at.
func (pm *modelPostmaster) skip() {
	for pm.slot < modelSlots && !pm.look[pm.slot] {
		pm.slot++
	}
}

// execute begins the next plan there is.
func (m *model) execute(s *state) {
	pm := &s.postmaster
	pm.mode, pm.pc, pm.slot = modeExecute, 0, 0
	for pm.slot < modelSlots && pm.plan[pm.slot] == planNone && !pm.restore[pm.slot] {
		pm.slot++
	}
	if pm.slot == modelSlots {
		pm.mode, pm.slot = modeIdle, 0
	}
}

// events are what comes to an idle postmaster: a start is answered, a worker
// exits, a shutdown begins.
func (m *model) events(s *state) (ts []transition) {
	happens := func(label string, slot int, do func(s *state, slot int)) {
		ts = append(ts, transition{label, postmasterActs, true, func(s *state) string { do(s, slot); m.execute(s); return "" }})
	}
	pm := &s.postmaster
	for i := range s.slot {
		if pm.known[i] == 0 {
			continue
		}
		switch c := s.of(pm.known[i]); {
		case c.phase == phaseRegistered && !pm.stopping:
			happens("worker starts", i, func(s *state, i int) { s.decide(i, planStart, phaseRunning); m.spawned(s, i) })
		case c.phase == phaseWaiting && !pm.stopping:
			happens("worker starts again", i, func(s *state, i int) { s.decide(i, planStart, phaseRunningAgain); m.spawned(s, i) })
		case c.phase == phaseRunning && m.restarts && !pm.terminate[i]:
			happens("worker fails", i, func(s *state, i int) { s.decide(i, planExit, phaseWaiting) })
		case c.phase.running() && !s.intrudedOn(i):
			happens("worker exits", i, func(s *state, i int) { s.forget(i, s.postmaster.known[i]) })
		}
	}
	if m.stops && !pm.stopping {
		happens("shutdown", 0, func(s *state, _ int) {
			s.postmaster.stopping = true
			for i, id := range s.postmaster.known {
				if id != 0 && s.of(id).phase == phaseRegistered {
					s.forget(i, id)
				} else if id != 0 {
					s.of(id).killed = s.of(id).phase.running()
				}
			}
		})
	}
	return ts
}

// decide is a decision about a worker in the postmaster's own memory: what it
// is from now on, and what has to be written because of it.
func (s *state) decide(slot int, p plan, to phase) {
	pm := &s.postmaster
	id := pm.known[slot]
	pm.plan[slot], pm.claim[slot] = p, id
	c := s.of(id)
	c.killed = c.killed && p != planExit
	s.child[slot] = modelChild{}
	c.become(to)
}

// forget decides that a worker is gone, be it known or refused.
func (s *state) forget(slot int, id uint8) {
	pm := &s.postmaster
	pm.known[slot] = id
	s.decide(slot, planRetire, phaseGone)
	pm.known[slot], pm.terminate[slot] = 0, false
}

// The postmaster's programs. A step's number is the slot.

func (s *state) planned(slot int) (claim uint8) { return s.postmaster.claim[slot] }

// wakeProgram is what rouses the postmaster: the alarm, and then the reason.
func wakeProgram() program {
	return program{
		{name: "Wait", do: func(s *state, _ int) (next, string) {
			if s.ring == 0 {
				return wait, ""
			}
			s.ring = 0
			return advance, ""
		}},
		{name: "pmSignals.Swap", do: func(s *state, _ int) (next, string) {
			if s.note == 0 {
				return failing, ""
			}
			s.note = 0
			return advance, ""
		}},
		{name: "changes.Swap", do: func(s *state, _ int) (next, string) {
			s.postmaster.look, s.changed = s.changed, [modelSlots]bool{}
			return advance, ""
		}},
	}
}

// scanProgram is noticeTerminate and noticeNew, for one slot.
func scanProgram() program {
	return program{
		{name: "InUse", do: func(s *state, i int) (next, string) {
			if s.slot[i].inUse == 0 && s.postmaster.known[i] == 0 {
				return finish, ""
			}
			s.postmaster.restore[i] = s.slot[i].inUse == 0
			return advance, ""
		}},
		{name: "Generation", do: func(s *state, i int) (next, string) {
			pm := &s.postmaster
			if pm.known[i] == 0 {
				pm.gen[i] = s.slot[i].generation
			}
			pm.restore[i] = pm.restore[i] || pm.gen[i] != s.slot[i].generation
			return advance, ""
		}},
		{name: "ReportedPid", do: func(s *state, i int) (next, string) {
			pm := &s.postmaster
			pm.restore[i] = pm.restore[i] || pm.known[i] != 0 && pm.pid[i] != s.slot[i].pid
			return advance, ""
		}},
		{name: "Descriptor, first half", do: func(s *state, i int) (next, string) {
			s.postmaster.name = s.slot[i].name
			return advance, ""
		}},
		{name: "Descriptor, second half", do: func(s *state, i int) (next, string) {
			pm := &s.postmaster
			if pm.known[i] == 0 && (pm.name != s.slot[i].rest || pm.name != s.owner[i]) {
				return advance, "torn descriptor"
			}
			return advance, ""
		}},
		{name: "Terminate", do: func(s *state, i int) (next, string) {
			pm := &s.postmaster
			known := pm.known[i] != 0
			id := s.owner[i]
			if known {
				id = pm.known[i]
			}
			flag := s.slot[i].terminate == pm.gen[i]
			switch {
			case flag && !s.of(id).asked && (known || !pm.stopping):
				return finish, "termination of a worker that nobody wanted to end"
			case !known && (flag || pm.stopping):
				s.forget(i, id)
			case !known:
				pm.known[i], pm.pid[i] = id, pidInvalid
				s.slot[i].pid = pidInvalid // it is something else only if the slot was stolen while it was released
			case flag && !pm.terminate[i] && s.of(id).phase.running():
				pm.terminate[i], s.of(id).killed = true, true
			case flag && !pm.terminate[i]:
				s.forget(i, id)
			}
			return finish, ""
		}},
	}
}

func setSlotPid(dead bool) step {
	return step{name: "SetPid", do: func(s *state, i int) (next, string) {
		id := s.planned(i)
		switch {
		case dead:
			s.slot[i].pid = pidDead
		case s.of(id).phase == phaseRunning:
			s.slot[i].pid = pidOf(id, 0)
		default:
			s.slot[i].pid = pidOf(id, 1)
		}
		s.postmaster.pid[i] = s.slot[i].pid
		return advance, ""
	}}
}

var notifyStep = step{name: "Notify", do: func(s *state, i int) (next, string) {
	c := s.of(s.planned(i))
	s.latch[c.by] = 1
	if c.phase == phaseGone && s.holds(s.planned(i)) {
		return advance, "slot: whoever is told of a worker's end finds its slot taken"
	}
	return advance, ""
}}

func reportProgram(start bool) program { return program{setSlotPid(!start), notifyStep} }

func retireProgram() program {
	return program{
		setSlotPid(true),
		{name: "parallelTerminate.Add", do: func(s *state, i int) (next, string) {
			if s.of(s.planned(i)).parallel {
				s.ended = (s.ended + 1) % countWrap
			}
			return advance, ""
		}},
		{name: "inUse.Store", do: func(s *state, i int) (next, string) {
			if s.stolen { // Skip comes first
				s.slot[i].generation = s.postmaster.gen[i] + skipped
			}
			if id := s.owner[i]; id != s.planned(i) { // who took it before it was free
				s.of(id).phase = phaseGone
			}
			s.slot[i].inUse = 0
			return advance, ""
		}},
		notifyStep,
	}
}
