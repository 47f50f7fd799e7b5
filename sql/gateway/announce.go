package gateway

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgexthost/pgexthost/internal/guc"
	"github.com/pgexthost/pgexthost/internal/settings"
)

// settingsFile is where the host keeps the settings it runs with, those of the
// libraries included. See package host.
const settingsFile = "config_exec_params"

// setting is what concerns SQL of an entry of that file.
type setting struct {
	Name       string          `json:"name"`
	Value      string          `json:"value"`
	Hidden     bool            `json:"hidden"`
	Definition *guc.Definition `json:"definition"` // of a library's that is loaded
	Reserved   bool            `json:"reserved"`   // there are no others with its prefix
}

// announcements are the settings of libraries, which every session of the server
// is told of, so that SHOW and current_setting() know them.
type announcements struct {
	looked atomic.Int64 // at the file, as nanoseconds since the process began
	latest atomic.Pointer[announced]

	mu   sync.Mutex // held by who looks
	read time.Time  // the file, by its time of modification
}

// lookInterval is how long a session that runs one statement after the other may
// not notice that the file has changed. To look before each of them is one more
// system call for each, under a lock that all sessions share.
const lookInterval = 10 * time.Millisecond

var began = time.Now()

// announced is the content of the file at a time. Nobody changes it.
type announced struct {
	settings []setting  // of libraries
	store    *guc.Store // of all, by type
}

// recent returns the settings as they were a moment ago. It is another value when
// they have changed.
func (a *announcements) recent() *announced {
	if latest := a.latest.Load(); latest != nil && int64(time.Since(began))-a.looked.Load() < int64(lookInterval) {
		return latest
	}
	return a.current()
}

// current returns the settings as they are.
func (a *announcements) current() *announced {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.latest.Load() == nil {
		a.latest.Store(newAnnounced(nil))
	}
	a.looked.Store(int64(time.Since(began)))
	st, err := os.Stat(settingsFile)
	if err != nil || st.ModTime().Equal(a.read) {
		return a.latest.Load()
	}
	text, err := os.ReadFile(settingsFile)
	var all []setting
	if err != nil || json.Unmarshal(text, &all) != nil {
		return a.latest.Load()
	}
	a.read = st.ModTime()
	a.latest.Store(newAnnounced(all))
	return a.latest.Load()
}

func newAnnounced(all []setting) *announced {
	known := &announced{store: guc.NewStore(settings.Definitions()...)}
	for _, s := range all {
		if s.Definition != nil {
			if _, err := known.store.Define(*s.Definition); err != nil {
				continue
			}
			_ = known.store.Override(s.Name, s.Value) // the host has it in force
			if prefix, _, _ := strings.Cut(s.Name, "."); s.Reserved {
				known.store.MarkPrefixReserved(prefix)
			}
		}
		if strings.Contains(s.Name, ".") && !s.Hidden {
			known.settings = append(known.settings, s)
		}
	}
	return known
}

// isSessions reports whether a session may have a value of its own, which what the
// host reads again must not replace.
func (k setting) isSessions() bool { return k.Definition == nil || k.Definition.Context > guc.Sighup }

// refresh tells the server's session of settings that have changed since. PostgreSQL
// puts what a reload has changed in force between two commands as well.
func (s *session) refresh(up *pump) {
	if s.told == nil {
		return // it speaks no SQL
	}
	if s.reset.Swap(false) {
		s.seen, s.told = nil, maps.Clone(s.first)
	}
	known := s.gateway.known.recent()
	if known == s.seen || !s.traffic.idle() {
		return
	}
	s.seen = known
	var calls []string
	for _, k := range known.settings {
		if was, told := s.told[k.Name]; !told || was != k.Value && !k.isSessions() {
			s.told[k.Name] = k.Value
			calls = append(calls, "pg_catalog.set_config("+quoteLiteral(k.Name)+", "+quoteLiteral(k.Value)+", false)")
		}
	}
	if len(calls) > 0 {
		if s.ask(up, "SELECT "+strings.Join(calls, ", ")) == nil {
			s.reset.Store(true) // tell it again
		}
	}
}

// quoteLiteral writes a text so that it is one whatever standard_conforming_strings
// is.
func quoteLiteral(text string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// announce tells the server's session, before there is one, what its functions have
// to know, as far as there is room in the start-up packet.
func (s *session) announce() {
	if s.startup.isReplication() {
		return
	}
	room := 4 + maxStartupPacket - len(s.startup.encode())
	fits := func(name, value string) bool {
		room -= len(name) + len(value) + 2
		return room >= 0
	}
	if fits(nonceSetting, s.nonce) {
		s.startup.set(nonceSetting, s.nonce)
	}
	known := s.gateway.known.current()
	s.seen, s.first = known, make(map[string]string)
	for _, k := range known.settings {
		if own, given := s.startup.setting(k.Name); k.isSessions() && given {
			s.first[k.Name] = own
			continue
		}
		if !fits(k.Name, k.Value) {
			s.seen = nil // the rest is told before the first statement
			break
		}
		s.startup.set(k.Name, k.Value)
		s.first[k.Name] = k.Value
	}
	s.told = maps.Clone(s.first)
}

// nonceSetting tells the functions of schema pgexthost that the session goes
// through a gateway, and is part of what they prove to it.
const nonceSetting = "pgexthost.gateway"
