package gateway

import "sync"

// keys are those of the sessions there are, and where each session is.
type keys struct {
	mu       sync.Mutex
	sessions map[cancelKey]string
}

func (k *keys) add(key cancelKey, address string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sessions == nil {
		k.sessions = make(map[cancelKey]string)
	}
	k.sessions[key] = address
}

func (k *keys) remove(key cancelKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.sessions, key)
}

// find returns where the session with that key is.
func (k *keys) find(key cancelKey) (address string, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	address, ok = k.sessions[key]
	return address, ok
}
