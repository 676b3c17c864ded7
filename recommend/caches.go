package recommend

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/features/scored"
	"sluice/features/trending"
)

const (
	// maxSimilarItems bounds the items whose neighbours are kept within a tick; further ones are asked each time.
	maxSimilarItems = 4096
	// maxSimilar is how many neighbours of an item are looked at.
	maxSimilar = 200
)

// similarCache keeps the neighbours of items for one tick of the published lists. They change with every event, but lists that are not personal
// must be equal within a tick.
type similarCache struct {
	personal Personal

	mu    sync.Mutex // guards tick and lists
	tick  int64
	lists map[similarKey][]scored.Item
}

type similarKey struct {
	item     string
	halfLife time.Duration
}

func newSimilarCache(p Personal) *similarCache {
	return &similarCache{personal: p, lists: make(map[similarKey][]scored.Item)}
}

// get lists what is looked at together with the item, as of the tick. 0 = nothing has been published yet: nothing is kept. The list is read-only.
func (c *similarCache) get(item string, halfLife time.Duration, tick int64) []scored.Item {
	key := similarKey{item, halfLife}
	c.mu.Lock()
	if tick > c.tick {
		c.tick, c.lists = tick, make(map[similarKey][]scored.Item)
	}
	list, ok := c.lists[key]
	ok = ok && tick == c.tick
	full := tick != 0 && len(c.lists) >= maxSimilarItems
	c.mu.Unlock()
	if ok {
		return list
	}
	if full {
		return nil // what is not kept would differ within the tick
	}
	list = c.personal.CoVisited(item, c.personal.Now(), halfLife, maxSimilar)
	c.mu.Lock()
	defer c.mu.Unlock()
	if tick == 0 || tick != c.tick {
		return list
	}
	if first, ok := c.lists[key]; ok { // another request was faster: what it answered with holds for the tick
		return first
	}
	c.lists[key] = list
	return list
}

// popularity is how popular items are, 0–1, by the published list; it is made once a list.
type popularity struct{ current atomic.Pointer[popularityOf] }

type popularityOf struct {
	lists *trending.Lists
	items map[string]float64
}

func (p *popularity) of(lists *trending.Lists) map[string]float64 {
	if known := p.current.Load(); known != nil && known.lists == lists {
		return known.items
	}
	made := &popularityOf{lists: lists, items: make(map[string]float64, len(lists.Popular))}
	for i := range lists.Popular {
		if most := lists.Popular[0].Score; most > 0 {
			made.items[lists.Popular[i].ItemID] = lists.Popular[i].Score / most
		}
	}
	p.current.Store(made)
	return made.items
}
