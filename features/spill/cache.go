package spill

import (
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

const (
	cacheBytes   = 4 << 20
	cacheEntry   = 128              // bytes that the cache takes for an entry, beside the value
	cacheCounter = 1 << 17          // ten for each value of some 300 bytes that fits
	cacheTime    = 10 * time.Minute // what was deleted is in memory no longer
)

// cache holds what was read from files not long ago. What a key names never changes, so nothing is ever replaced.
type cache struct {
	mu     sync.RWMutex // guards values: the library's cache must not be used while it closes
	values *ristretto.Cache[uint64, []byte]
}

func (c *cache) open() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values, err = ristretto.NewCache(&ristretto.Config[uint64, []byte]{NumCounters: cacheCounter, MaxCost: cacheBytes, BufferItems: 64, IgnoreInternalCost: true})
	return err
}

func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values.Close()
	c.values = nil
}

// get is a value, which must not be changed.
func (c *cache) get(key uint64) ([]byte, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.values == nil {
		return nil, false
	}
	return c.values.Get(key)
}

// set copies a value.
func (c *cache) set(key uint64, value []byte) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.values == nil {
		return
	}
	value = slices.Clone(value)
	c.values.SetWithTTL(key, value, int64(cap(value)+cacheEntry), cacheTime)
}
