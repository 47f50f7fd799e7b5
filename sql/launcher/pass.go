package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/pgexthost/pgexthost/internal/failpoint"
	"github.com/pgexthost/pgexthost/plugins"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// process is what the launcher needs of *plugins.Worker.
type process interface {
	Pid() int
	BackgroundWorkers() []plugins.WorkerInfo
	UnregisteredWorkers() []plugins.UnregisteredWorker
	RegisterHeldBackgroundWorker(worker plugins.BackgroundWorker, request int64) (plugins.Handle, error)
	ReleaseBackgroundWorker(h plugins.Handle) error
	TerminateBackgroundWorker(h plugins.Handle) error
}

// state is what the passes of one session have in common. All of it can be lost.
type state struct {
	process  process
	tables   *tables
	journal  *journal
	past     *past
	ids      map[int64]int64 // of the live requests, by their numbers
	attempts map[int64]attempt
	missing  map[int64]time.Time // since when a started request's worker is gone

	concluding  bool // the host shuts down: nothing starts any more
	published   string
	publishedAt time.Time
	forgotAt    time.Time
}

// pass makes the host what the tables say, as far as one step each leads, and
// reports whether any row has changed.
func (s *state) pass(ctx context.Context) (progress bool, err error) {
	if s.tables.owner {
		if err := s.tables.declare(ctx); err != nil {
			return false, err
		}
	}
	rows, err := s.tables.load(ctx)
	if err != nil {
		return false, err
	}
	failpoint.Here(failpoint.RequestsLoaded)
	h := s.look()
	if s.past.replaced {
		if err := s.disown(rows, h); err != nil {
			return false, err
		}
		h = s.look()
	}
	s.forgetStale(rows, h)
	var changes []change
	for _, r := range rows {
		c, err := s.act(h, r)
		if err != nil {
			return false, err
		}
		if c.do != nothing {
			changes = append(changes, c)
		}
	}
	for _, w := range h.strays(rows) {
		if err := s.process.TerminateBackgroundWorker(w.Handle); err != nil {
			return false, err
		}
	}
	if len(changes) == 0 {
		return false, nil
	}
	changed, err := s.tables.write(ctx, changes)
	if err == nil && changed == int64(len(changes)) { // else who knows which
		s.journal.forget(changes)
	}
	return changed > 0, err
}

// concludeLimit is how long the launcher takes at its end to write down what has
// become of the workers; the host would not wait for it much longer.
const concludeLimit = 2 * time.Second

// conclude settles what can be settled before the process ends. The rest is left to
// its successor.
func (s *state) conclude(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, concludeLimit)
	defer cancel()
	s.concluding = true
	for progress := true; progress; {
		var err error
		if progress, err = s.pass(ctx); err != nil {
			return
		}
	}
}

// look returns what of the host is this database's. The registered come first: one
// that leaves meanwhile is in both lists then, rather than in none.
func (s *state) look() host {
	h := host{workers: make(map[int64][]plugins.WorkerInfo), gone: make(map[int64]plugins.UnregisteredWorker), begun: s.journal.begun}
	for _, w := range s.process.BackgroundWorkers() {
		if isOf(w.Request, s.tables.conn.DatabaseOID()) {
			w.Terminated = w.Terminated || s.past.former[w.Handle.String()]
			h.workers[w.Request] = append(h.workers[w.Request], w)
		}
	}
	for _, g := range s.process.UnregisteredWorkers() {
		if _, later := h.gone[g.Request]; !later && isOf(g.Request, s.tables.conn.DatabaseOID()) {
			h.gone[g.Request] = g
		}
	}
	return h
}

// forgetStale drops what is remembered of requests that are not live any more.
func (s *state) forgetStale(rows []row, h host) {
	s.ids = make(map[int64]int64, len(rows))
	for _, r := range rows {
		s.ids[r.Number] = r.ID
	}
	for number := range s.attempts {
		if _, live := s.ids[number]; !live && len(h.workers[number]) == 0 {
			delete(s.attempts, number)
		}
	}
	for number := range s.missing {
		if _, live := s.ids[number]; !live || len(h.workers[number]) > 0 {
			delete(s.missing, number)
		}
	}
}

// act takes the next step of a request, or returns it if it is one for the tables.
func (s *state) act(h host, r row) (change, error) {
	now := time.Now()
	if len(h.workers[r.Number]) == 0 && r.Started && s.missing[r.Number].IsZero() {
		s.missing[r.Number] = now
	}
	switch next := h.plan(r, s.attempts[r.Number], now, now.Sub(s.missing[r.Number])); next.do {
	case register:
		if s.concluding {
			return change{}, nil
		}
		return s.register(r), nil
	case release:
		return change{}, s.process.ReleaseBackgroundWorker(next.worker.Handle)
	case terminate:
		return change{}, s.process.TerminateBackgroundWorker(next.worker.Handle)
	case claim:
		if s.concluding {
			return change{}, nil
		}
		return change{r.ID, r.Handle, r.Foreign, next}, nil
	case note, settle:
		return change{r.ID, r.Handle, r.Foreign, next}, nil
	case nothing:
	}
	return change{}, nil
}

// register registers a request's worker held, or returns what is in the way.
func (s *state) register(r row) change {
	worker := r.Worker
	worker.NotifyPid = s.process.Pid()
	_, err := s.process.RegisterHeldBackgroundWorker(worker, r.Number)
	c := change{id: r.ID, old: r.Handle, foreign: r.Foreign}
	switch {
	case err == nil:
		s.attempts[r.Number] = attempt{at: time.Now(), tries: s.attempts[r.Number].tries + 1}
		return c
	case errors.Is(err, plugins.ErrNoSlot):
		if r.Message == plugins.ErrNoSlot.Message {
			return c
		}
		c.step = step{do: note, pid: r.Pid}
	default:
		c.step = step{do: settle, state: "failed"}
	}
	report := elog.AsErrorData(err, elog.Error)
	c.sqlstate, c.text = string(report.Code), report.Message
	return c
}

// numberOf is what the registration for a request is given: it tells requests of
// several databases apart, and those of a database from those of its copy. Of ids
// more than four billion apart no two are live.
func numberOf(id int64, database uint32) int64 {
	return int64(database&databaseMask)<<32 | id&0xffffffff
}

const databaseMask = 0x7fffffff

// isOf reports whether a number is that of a request of the database.
func isOf(number int64, database uint32) bool {
	return number > 0 && databaseOf(number) == database&databaseMask
}

// databaseOf is what a number says of the database: its OID without the highest bit.
func databaseOf(number int64) uint32 { return uint32(number>>32) & databaseMask }

// slot is a row of view pgexthost.slots.
type slot struct {
	Slot         int        `json:"slot"`
	Generation   uint64     `json:"generation"`
	Handle       string     `json:"handle"`
	Request      *int64     `json:"request"`
	Pid          int        `json:"pid"`
	Name         string     `json:"name"`
	Type         string     `json:"type"`
	Library      string     `json:"library"`
	Function     string     `json:"function"`
	State        string     `json:"state"`
	Database     *string    `json:"database"`
	WaitEvent    *string    `json:"wait_event"`
	StartedAt    *time.Time `json:"started_at"`
	Restarts     int        `json:"restarts"`
	LastExitAt   *time.Time `json:"last_exit_at"`
	LastExitCode *int       `json:"last_exit_code"`
	LastSQLState *string    `json:"last_sqlstate"`
	LastError    *string    `json:"last_error"`
	NextStart    *time.Time `json:"next_start"`
}

// slots are the host's slots as this database may see them: what another database
// has asked for is none of its readers' business.
func (s *state) slots() []slot {
	slots := []slot{} // an empty array, not null
	for _, w := range s.process.BackgroundWorkers() {
		if w.Request != 0 && !isOf(w.Request, s.tables.conn.DatabaseOID()) {
			continue
		}
		one := slot{
			Slot: w.Slot, Generation: w.Generation, Handle: w.Handle.String(), Pid: w.Pid, Name: w.Entry.Name, Type: w.Entry.Type,
			Library: w.Entry.LibraryName, Function: w.Entry.FunctionName, State: string(w.State), Restarts: w.Restarts,
			Database: unlessZero(w.Database), StartedAt: unlessZero(w.Started), LastExitAt: unlessZero(w.Exited),
			LastSQLState: unlessZero(string(w.SQLState)), LastError: unlessZero(w.Message), NextStart: unlessZero(w.NextStart),
		}
		if id, ok := s.ids[w.Request]; ok {
			one.Request = &id
		}
		if w.WaitEvent != "" {
			one.WaitEvent = unlessZero(w.WaitEventType + ":" + w.WaitEvent)
		}
		if !w.Exited.IsZero() && w.ExitSignal == 0 {
			one.LastExitCode = &w.ExitCode
		}
		slots = append(slots, one)
	}
	return slots
}

func unlessZero[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// publish shows the slots, if they have changed, but not more often than once a
// second.
func (s *state) publish(ctx context.Context) error {
	if !s.tables.owner || time.Since(s.publishedAt) < time.Second {
		return nil
	}
	text, err := json.Marshal(s.slots())
	if err != nil || string(text) == s.published {
		return err
	}
	s.published, s.publishedAt = string(text), time.Now()
	return s.tables.publish(ctx, s.published)
}
