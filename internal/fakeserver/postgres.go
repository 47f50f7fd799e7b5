package fakeserver

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// Postgres is the state of a server that behaves well. Its methods are safe
// for concurrent use.
type Postgres struct {
	mu         sync.Mutex
	started    time.Time
	inRecovery bool
	looks      int
}

// NewPostgres returns a server that was started at a time of its own.
func NewPostgres(inRecovery bool) *Postgres {
	return &Postgres{started: time.Now(), inRecovery: inRecovery}
}

// Restart gives it a new start time.
func (p *Postgres) Restart(inRecovery bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started, p.inRecovery = p.started.Add(time.Second), inRecovery
}

// Promote ends its recovery.
func (p *Postgres) Promote() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inRecovery = false
}

// Looks returns how often it was asked whether it is in recovery.
func (p *Postgres) Looks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looks
}

// Serve is its script. It answers what the monitor asks, and otherwise with the
// name of the database, and lets pg_sleep sleep until it is cancelled or the
// connection ends.
func (p *Postgres) Serve(c *Client) { p.ServeAs(c, version) }

// ServeAs is Serve for a server of another version.
func (p *Postgres) ServeAs(c *Client, version string) {
	c.WelcomeTo(version)
	for {
		sql, ok := c.Query()
		switch {
		case !ok:
			return
		case strings.Contains(sql, "pg_postmaster_start_time"):
			c.Row(p.answer()...)
		case strings.Contains(sql, "pg_is_in_recovery"): // target_session_attrs
			c.Row(p.answer()[0])
		case strings.Contains(sql, "set_config"): // what package connect sends first
			c.Row("5", "0")
		case strings.Contains(sql, "pg_sleep"):
			c.Sleep()
		default:
			c.Row(c.Params["database"])
		}
	}
}

func (p *Postgres) answer() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	recovery := "f"
	if p.inRecovery {
		recovery = "t"
	}
	return []string{recovery, strconv.FormatInt(p.started.UnixMicro(), 10)}
}
