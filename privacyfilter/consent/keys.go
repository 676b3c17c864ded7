package consent

import (
	"hash/maphash"
	"sync"

	"sluice/internal/seal"
)

// maxKeys is how many log pseudonyms each part of the cache holds. A full part starts over.
const maxKeys = 4096

// keyCache remembers log pseudonyms of subjects that were asked for lately: making one costs more than finding the row.
type keyCache struct {
	ring  *seal.Keyring
	seed  maphash.Seed
	parts [16]keyPart
}

type keyPart struct {
	mu   sync.RWMutex // guards keys
	keys map[string]logKey
}

func newKeyCache(ring *seal.Keyring) *keyCache {
	c := &keyCache{ring: ring, seed: maphash.MakeSeed()}
	for i := range c.parts {
		c.parts[i].keys = make(map[string]logKey)
	}
	return c
}

func (c *keyCache) get(subject string) logKey {
	part := &c.parts[maphash.String(c.seed, subject)%uint64(len(c.parts))]
	part.mu.RLock()
	key, ok := part.keys[subject]
	part.mu.RUnlock()
	if ok {
		return key
	}
	key = c.ring.LogKey(subject)
	part.mu.Lock()
	defer part.mu.Unlock()
	if len(part.keys) >= maxKeys {
		clear(part.keys)
	}
	part.keys[subject] = key
	return key
}
