package gateway

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"
)

// settingsFile is where the host keeps the settings it runs with, those of the
// libraries included. See package host.
const settingsFile = "config_exec_params"

// Setting is one setting of a library, as far as SQL is concerned.
type Setting struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Type      string `json:"type"`
	Context   string `json:"context"`
	Undefined bool   `json:"undefined"`
	Hidden    bool   `json:"hidden"`
}

// announcements are the settings of libraries, which every session of the server
// is told of, so that SHOW and current_setting() know them.
type announcements struct {
	mu         sync.Mutex
	read       time.Time // of the file, by its time of modification
	generation int       // how often they were read
	settings   []Setting
}

// current returns the settings, and a number that changes with them.
func (a *announcements) current() (settings []Setting, generation int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st, err := os.Stat(settingsFile)
	if err != nil || st.ModTime().Equal(a.read) {
		return a.settings, a.generation
	}
	text, err := os.ReadFile(settingsFile)
	var all []Setting
	if err != nil || json.Unmarshal(text, &all) != nil {
		return a.settings, a.generation
	}
	a.read = st.ModTime()
	a.settings = nil
	for _, s := range all {
		if strings.Contains(s.Name, ".") && !s.Undefined && !s.Hidden {
			a.settings = append(a.settings, s)
		}
	}
	a.generation++
	return a.settings, a.generation
}

// refresh tells the server's session of settings that have changed since. PostgreSQL
// puts what a reload has changed in force between two commands as well.
func (s *session) refresh(up *pump) {
	if s.startup.isReplication() || !s.traffic.idle() {
		return
	}
	known, generation := s.gateway.known.current()
	if generation == s.seen {
		return
	}
	s.seen = generation
	var calls []string
	for _, k := range known {
		if s.told[k.Name] != k.Value {
			s.told[k.Name] = k.Value
			calls = append(calls, "pg_catalog.set_config("+quoteLiteral(k.Name)+", "+quoteLiteral(k.Value)+", false)")
		}
	}
	if len(calls) > 0 {
		s.inject(up, "SELECT "+strings.Join(calls, ", "))
	}
}

// quoteLiteral writes a text so that it is one whatever standard_conforming_strings
// is.
func quoteLiteral(text string) string {
	return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// announce tells the server's session, before there is one, what its functions have
// to know.
func (s *session) announce() {
	if s.startup.isReplication() {
		return
	}
	known, generation := s.gateway.known.current()
	s.seen, s.told = generation, make(map[string]string)
	for _, k := range known {
		s.startup.set(k.Name, k.Value)
		s.told[k.Name] = k.Value
	}
	s.startup.set(nonceSetting, s.nonce)
}

// nonceSetting tells the functions of schema pgexthost that the session goes
// through a gateway, and is part of what they prove to it.
const nonceSetting = "pgexthost.gateway"
