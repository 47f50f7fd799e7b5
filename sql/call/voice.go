package call

import (
	"context"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
	"github.com/pgexthost/pgexthost/sql"
)

// applicationName is that of the sessions that answer calls.
const applicationName = "pgexthost gateway"

// patience bounds what the server is asked over such a session. It is short: a
// client waits.
const patience = 5 * time.Second

// voice is one session with the server, and what is said over it with locks. One
// goroutine has it.
type voice struct {
	conn   *connect.Conn
	secret secret
	ascii  bool // all that is sure to be a text there: the database has another encoding than UTF8
	held   map[uint32]*held
}

// held is the locks held for one session, by its process id.
type held struct {
	state   int // the number of the state lock, or -1
	last    int // the number of the one that was tried last
	payload []int64
	words   int // that a piece may have
}

// utterance is something to say to a session.
type utterance struct {
	pid  uint32
	id   callID
	say  func(most int) piece // what, in so many bytes; nil: nothing, but let go of what was said
	gone bool                 // of the state lock as well
}

// openVoice opens a session with a database. Errors are *elog.ErrorData.
func openVoice(ctx context.Context, conninfo, database string) (*voice, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	config, err := connect.ParseConninfo(conninfo)
	if err == nil {
		config, err = config.ForDatabase(database)
	}
	if err != nil {
		return nil, err
	}
	conn, err := connect.Open(ctx, config, applicationName, connect.WithSetting("search_path", "pg_catalog, pg_temp"), connect.IgnoreDatabaseRole())
	if err != nil {
		return nil, err
	}
	v := &voice{conn: conn, held: make(map[uint32]*held), ascii: conn.PgConn().ParameterStatus("server_encoding") != "UTF8"}
	if err := v.learn(ctx); err != nil {
		v.hangUp()
		return nil, err
	}
	return v, nil
}

// learn reads the secret.
func (v *voice) learn(ctx context.Context) error {
	exists, err := sql.CheckOwner(ctx, v.conn)
	if err != nil {
		return err
	}
	v.secret = nil
	if exists {
		err = v.conn.QueryRow(ctx, "SELECT secret FROM pgexthost.secret").Scan(&v.secret)
	}
	if err == nil && len(v.secret) > 0 || connect.IsServerEvent(err) {
		return err
	}
	e := elog.New(elog.Error, elog.ObjectNotInPrerequisite, "the gateway cannot read the secret of schema pgexthost in database \"%s\"", v.conn.Database()).
		WithHint("Run \"pgexthost extension upgrade pgexthost\" as the owner of the schema, who has to be the user of server_conninfo.")
	if err == nil && !exists {
		return e.WithDetail("There is no such schema that other sessions see.").
			WithHint("If CREATE EXTENSION has just made it in this transaction, commit that first.")
	}
	if err != nil {
		return e.WithDetail("The server says: %s.", connect.AsErrorData(err, elog.Error).Message).WithCause(err)
	}
	return e
}

func (v *voice) hangUp() { v.conn.HangUp(context.Background()) }

// errTaken says that whatever locks were tried, somebody else had one of them.
var errTaken = elog.New(elog.Error, elog.SystemError, "could not answer the call").
	WithDetail("The advisory locks for the answer are taken.")

// say says things in one round trip, unless locks are taken or the server runs out
// of them. An error that breaks the session loses all locks; see [voice.broken].
func (v *voice) say(ctx context.Context, all []utterance) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for attempt := 0; len(all) > 0; attempt++ {
		if attempt == attempts {
			return errTaken
		}
		steps := v.plan(all, attempt)
		done, err := run(ctx, v.conn, opsOf(steps))
		switch {
		case connect.SQLState(err) == elog.OutOfMemory:
			if err := v.retreat(ctx, steps); err != nil {
				return err
			}
			if !v.shrink(all) {
				return connect.AsErrorData(err, elog.Error)
			}
			continue
		case err != nil:
			return err
		}
		all = v.settle(steps, done)
	}
	return nil
}

// broken reports whether the session can be used no more.
func (v *voice) broken() bool { return v.conn.IsClosed() }

// step is how one utterance is said.
type step struct {
	utterance
	held     *held
	unlocked []int64
	locked   []int64
	state    int // the number of the lock to take, or -1
	former   int // the number of the lock to let go, or -1
}

// plan puts utterances into locks. Who waits for the former state lock finds the
// payload and the next state lock when he gets it.
func (v *voice) plan(all []utterance, attempt int) []step {
	steps := make([]step, 0, len(all))
	for _, u := range all {
		h := v.held[u.pid]
		if h == nil {
			h = &held{state: -1, words: mostWords}
			v.held[u.pid] = h
		}
		s := step{utterance: u, held: h, unlocked: h.payload, state: -1, former: -1}
		if u.say != nil {
			s.locked = payloadKeys(u.pid, attempt, v.secret.seal(u.id, attempt, u.say(h.words*wordSize-headSize)))
			h.last = (h.last + 1) % stateKeys
			s.state = h.last
		}
		if u.say != nil || u.gone {
			s.former = h.state
		}
		steps = append(steps, s)
	}
	return steps
}

func (s step) ops() []op {
	var ops []op
	for _, key := range s.unlocked {
		ops = append(ops, op{unlockPayload, key})
	}
	for _, key := range s.locked {
		ops = append(ops, op{lockPayload, key})
	}
	if s.state >= 0 {
		ops = append(ops, op{lockState, stateKey(s.pid, s.state)})
	}
	if s.former >= 0 {
		ops = append(ops, op{unlockState, stateKey(s.pid, s.former)})
	}
	return ops
}

func opsOf(steps []step) (ops []op) {
	for _, s := range steps {
		ops = append(ops, s.ops()...)
	}
	return ops
}

// settle notes what is held now, and returns what could not be said with these
// locks: somebody else has one of them.
func (v *voice) settle(steps []step, done []bool) (unsaid []utterance) {
	for _, s := range steps {
		h := s.held
		h.payload = nil
		for i, key := range s.locked {
			if done[len(s.unlocked)+i] {
				h.payload = append(h.payload, key)
			}
		}
		if len(h.payload) < len(s.locked) {
			unsaid = append(unsaid, s.utterance)
		}
		if s.former >= 0 {
			h.state = -1
		}
		if s.state >= 0 && done[len(s.unlocked)+len(s.locked)] {
			h.state = s.state
		}
		if s.gone {
			delete(v.held, s.pid)
		}
		done = done[len(s.ops()):]
	}
	return unsaid
}

// retreat lets go of all that steps may have taken before they failed.
func (v *voice) retreat(ctx context.Context, steps []step) error {
	var ops []op
	for _, s := range steps {
		for _, key := range append(s.unlocked, s.locked...) {
			ops = append(ops, op{unlockPayload, key})
		}
		for _, n := range []int{s.state, s.held.state} {
			if n >= 0 {
				ops = append(ops, op{unlockState, stateKey(s.pid, n)})
			}
		}
		s.held.payload, s.held.state = nil, -1
	}
	_, err := run(ctx, v.conn, ops) // what is not held costs a warning
	return err
}

// shrink has what is said next need fewer locks, and reports whether it can.
func (v *voice) shrink(all []utterance) (smaller bool) {
	for _, u := range all {
		if h := v.held[u.pid]; u.say != nil && h.words > leastWords {
			h.words /= 4
			smaller = true
		}
	}
	return smaller
}
