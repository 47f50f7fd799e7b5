package call

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pgexthost/pgexthost/connect"
	"github.com/pgexthost/pgexthost/plugins/elog"
)

// The times of a control.
const (
	acknowledgeAfter = time.Second            // that a call is in progress
	releaseAfter     = 20 * time.Millisecond  // the locks of an answer that was read: with those of others
	checkEvery       = 500 * time.Millisecond // that the session is there, while somebody waits
	checkFor         = 15 * time.Second       // after an answer: longer than pgexthost.call waits for one
	learnEvery       = time.Second            // the secret, at most; and a session is opened that could not be
	openAttempts     = 3                      // of a session that is lost meanwhile
	idleAfter        = time.Minute            // without calls
	aloneAfter       = time.Second            // once all who have called are gone: DROP DATABASE waits five seconds for other sessions
)

// control answers the calls from one database. Its goroutine owns all of it but the
// mail.
type control struct {
	server   *Server
	database string

	mu   sync.Mutex
	mail []func() // what to look at
	wake chan struct{}

	voice     *voice
	lanes     map[uint32]*lane // by process id
	learnedAt time.Time        // when the secret was read again, because a proof was wrong
	failure   error            // why there is no voice
	failedAt  time.Time
	checkedAt time.Time
	usedAt    time.Time
}

// lane is a session with calls.
type lane struct {
	session   *Session
	numbers   numbers
	call      *call     // that is in progress or was answered last; nil once its statement is over
	releaseAt time.Time // the locks of the last answer, if there are any
}

// call is one call.
type call struct {
	id           callID
	cancel       context.CancelFunc
	startedAt    time.Time
	reply        *reply // nil: in progress
	place        int    // of the reply, from which it is to be said
	due          bool   // something is to be said
	acknowledged bool
	saidAt       time.Time
}

func newControl(s *Server, database string) *control {
	return &control{server: s, database: database, wake: make(chan struct{}, 1), lanes: make(map[uint32]*lane), usedAt: time.Now()}
}

// leave leaves something for the goroutine to do.
func (c *control) leave(do func()) {
	c.mu.Lock()
	c.mail = append(c.mail, do)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *control) hasMail() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mail) > 0
}

func (c *control) run() {
	defer c.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.mu.Lock()
		mail := c.mail
		c.mail = nil
		c.mu.Unlock()
		for _, do := range mail {
			do()
		}
		now := time.Now()
		c.check(now)
		c.speak(now)
		if c.idle(now) && c.server.retire(c) {
			return
		}
		timer.Reset(max(time.Until(c.next(now)), time.Millisecond))
		select {
		case <-c.wake:
		case <-timer.C:
		case <-c.server.ctx.Done():
			return
		}
	}
}

// end cancels what is in progress and lets go of all locks.
func (c *control) end() {
	for _, l := range c.lanes {
		l.over()
	}
	if c.voice != nil {
		c.voice.hangUp()
	}
}

// hear does what the relay of a session has said.
func (c *control) hear(s *Session) {
	n := s.take()
	c.usedAt = time.Now()
	l := c.lanes[s.pid]
	if l != nil && l.session != s {
		if n.request == nil {
			return // it was closed, and the server has given its process id to another session
		}
		l.over() // nobody has said that this one was closed, but it is
		l = nil
	}
	if l != nil && n.over {
		l.over()
	}
	if n.request != nil {
		if l == nil {
			l = &lane{session: s}
			c.lanes[s.pid] = l
		}
		c.take(l, *n.request)
	}
	if n.closed && l != nil {
		c.forget(l)
	}
}

// over ends the call of a lane, as nobody waits for it any more.
func (l *lane) over() {
	if l.call == nil {
		return
	}
	l.call.cancel()
	l.call = nil
	l.releaseAt = time.Now().Add(releaseAfter)
}

// forget lets go of a session that was closed.
func (c *control) forget(l *lane) {
	delete(c.lanes, l.session.pid)
	if c.voice == nil || c.voice.held[l.session.pid] == nil {
		return
	}
	c.tell([]utterance{{pid: l.session.pid, gone: true}})
}

// take takes a request, if whoever has sent it knows the secret.
func (c *control) take(l *lane, r request) {
	if err := c.prove(r); err != nil {
		if !errors.Is(err, errForged) {
			l.session.refuse(err)
		}
		return
	}
	if r.verb == more {
		l.goOn(r)
		return
	}
	if !l.numbers.add(r.id.number()) {
		return
	}
	l.over()
	ctx, cancel := context.WithCancel(c.server.ctx)
	k := &call{id: r.id, cancel: cancel, startedAt: time.Now()}
	l.call, l.releaseAt = k, time.Time{}
	if c.voice.held[l.session.pid] != nil {
		c.voice.held[l.session.pid].words = mostWords
	}
	ascii := c.voice.ascii
	c.server.running.Go(func() {
		reply := c.server.answer(ctx, l.session, r)
		if ascii {
			reply.text = inASCII(reply.text)
		}
		c.leave(func() { k.reply, k.due = &reply, true })
	})
}

// more is the verb that asks for the next piece of an answer.
const more = "more"

// errForged says that a request is to be ignored.
var errForged = errors.New("forged request")

// prove returns nil if the request comes from a function of schema pgexthost; why
// that cannot be known; or errForged. The schema may have been installed anew since
// its secret was read.
func (c *control) prove(r request) error {
	if err := c.open(); err != nil {
		return err
	}
	if c.voice.secret.proved(r) {
		return nil
	}
	if time.Since(c.learnedAt) < learnEvery {
		return errForged
	}
	c.learnedAt = time.Now()
	ctx, cancel := context.WithTimeout(c.server.ctx, patience)
	defer cancel()
	if err := c.voice.learn(ctx); err != nil {
		c.drop(err)
		return err
	}
	if !c.voice.secret.proved(r) {
		c.server.log(elog.New(elog.Debug1, elog.InsufficientPrivilege, "call with a wrong proof was ignored").
			WithDetail("It was in database \"%s\".", c.database))
		return errForged
	}
	return nil
}

// goOn notes which piece of an answer is wanted next.
func (l *lane) goOn(r request) {
	if k := l.call; k != nil && k.id == r.id && k.reply != nil {
		if place, ok := k.reply.placeOf(r.argument); ok {
			k.place, k.due = place, true
		}
	}
}

// open sees to it that there is a session with the database. One that is lost while
// it is opened is opened again at once; what else keeps it from being opened is not
// tried again for a moment.
func (c *control) open() error {
	if c.voice != nil {
		return nil
	}
	if c.failure != nil && time.Since(c.failedAt) < learnEvery {
		return c.failure
	}
	c.failure = nil
	var err error
	for range openAttempts {
		if c.voice, err = openVoice(c.server.ctx, c.server.conninfo(), c.database); err == nil || !connect.IsServerEvent(err) {
			break
		}
	}
	if err != nil && !connect.IsServerEvent(err) {
		c.failure, c.failedAt = err, time.Now()
	}
	return err
}

// drop gives up the session with the database, and all its locks with it. What was
// said has to be said again over the next one.
func (c *control) drop(err error) {
	c.voice.hangUp()
	c.voice = nil
	if c.server.ctx.Err() == nil {
		c.server.log(elog.New(elog.Log, connect.SQLState(err), "lost the session that answers calls in database \"%s\"", c.database).
			WithDetail("%s", connect.AsErrorData(err, elog.Log).Message).WithCause(err))
	}
	for _, l := range c.lanes {
		l.releaseAt = time.Time{}
		if k := l.call; k != nil && (k.acknowledged || k.reply != nil) {
			k.due = true
		}
	}
}

// check finds out whether the session has been lost, which would be noticed
// otherwise when the next thing is said.
func (c *control) check(now time.Time) {
	if c.voice == nil || now.Before(c.checkedAt.Add(checkEvery)) || !c.heeded(now) {
		return
	}
	c.checkedAt = now
	ctx, cancel := context.WithTimeout(c.server.ctx, patience)
	defer cancel()
	if err := c.voice.conn.Ping(ctx); err != nil {
		c.drop(err)
	}
}

// heeded reports whether somebody may be waiting for something that was said.
func (c *control) heeded(now time.Time) bool {
	for _, l := range c.lanes {
		if k := l.call; k != nil && !k.saidAt.IsZero() && (k.reply == nil || now.Before(k.saidAt.Add(checkFor))) {
			return true
		}
	}
	return false
}

// speak says all that is to be said.
func (c *control) speak(now time.Time) {
	for range 2 { // a session that is lost is opened again once
		var all []utterance
		for pid, l := range c.lanes {
			if u, ok := l.utterance(pid, now); ok {
				all = append(all, u)
			}
		}
		if len(all) == 0 || c.tell(all) {
			return
		}
	}
}

// utterance returns what there is to say to a session.
func (l *lane) utterance(pid uint32, now time.Time) (u utterance, ok bool) {
	k := l.call
	if k == nil {
		return utterance{pid: pid}, !l.releaseAt.IsZero() && !now.Before(l.releaseAt)
	}
	if k.reply == nil && now.Sub(k.startedAt) >= acknowledgeAfter && !k.acknowledged {
		k.acknowledged, k.due = true, true
	}
	return utterance{pid: pid, id: k.id, say: k.piece}, k.due
}

// piece returns what there is to say, in so many bytes.
func (k *call) piece(most int) piece {
	if k.reply == nil {
		return piece{status: statusWorking}
	}
	return k.reply.piece(k.place, min(most, mostText))
}

// tell says things. It reports false if that has to be tried again, as the session
// was lost.
func (c *control) tell(all []utterance) bool {
	err := c.open()
	if err == nil {
		err = c.voice.say(c.server.ctx, all)
		if err != nil && (c.voice.broken() || !errors.Is(err, errTaken) && connect.SQLState(err) != elog.OutOfMemory) {
			c.drop(err)
			return false
		}
	}
	for _, u := range all {
		l := c.lanes[u.pid]
		if l == nil {
			continue
		}
		l.releaseAt = time.Time{}
		if k := l.call; k != nil && u.say != nil {
			k.due, k.saidAt = false, time.Now()
			if err != nil {
				l.session.refuse(err)
			}
		}
	}
	return true
}

// refuse says that there can be no answer.
func (s *Session) refuse(err error) { s.fail(connect.AsErrorData(err, elog.Error)) }

// next returns when there is something to do again, if nothing happens.
func (c *control) next(now time.Time) time.Time {
	at := c.usedAt.Add(c.lingers())
	if !c.idle(at) {
		at = now.Add(idleAfter)
	}
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	for _, l := range c.lanes {
		switch k := l.call; {
		case k == nil && !l.releaseAt.IsZero():
			sooner(l.releaseAt)
		case k != nil && k.reply == nil && !k.acknowledged:
			sooner(k.startedAt.Add(acknowledgeAfter))
		}
	}
	if c.heeded(now) {
		sooner(c.checkedAt.Add(checkEvery))
	}
	return at
}

// idle reports whether nobody has called for a while.
func (c *control) idle(now time.Time) bool {
	for _, l := range c.lanes {
		if l.call != nil {
			return false
		}
	}
	return !now.Before(c.usedAt.Add(c.lingers()))
}

// lingers returns how long it stays without calls.
func (c *control) lingers() time.Duration {
	if len(c.lanes) == 0 {
		return aloneAfter
	}
	return idleAfter
}
