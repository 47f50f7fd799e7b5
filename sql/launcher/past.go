package launcher

// past is what a launcher remembers of the tables that it has served in a database,
// from one session to the next: they may have been dropped and made anew, with
// requests that have the numbers of former ones.
type past struct {
	tables   uint32 // the OID of pgexthost.request, or 0
	replaced bool   // it has become another, and what former tables have asked for still runs
	// former are the handles of the workers of former tables, which are ending.
	former map[string]bool
}

// meet is told of the tables of a new session.
func (p *past) meet(oid uint32) {
	p.replaced = p.replaced || p.tables != 0 && p.tables != oid
	p.tables = oid
}

// disown ends the workers that former tables have asked for: all but those that
// the new tables, if they have been restored from a copy, name with their handle.
func (s *state) disown(rows []row, h host) error {
	known := make(map[string]bool)
	for _, r := range rows {
		if r.Started && r.Ours {
			known[r.Handle] = true
		}
	}
	former := make(map[string]bool)
	for _, workers := range h.workers {
		for _, w := range workers {
			handle := w.Handle.String()
			if known[handle] {
				continue
			}
			if err := s.process.TerminateBackgroundWorker(w.Handle); err != nil {
				return err
			}
			former[handle] = true
		}
	}
	s.past.replaced, s.past.former = false, former
	return nil
}
