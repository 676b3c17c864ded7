package recommend

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/features/items"
	"sluice/features/scored"
	"sluice/features/trending"
	"sluice/internal/catalog"
	"sluice/internal/itemid"
)

const (
	// maxRelated bounds the entries of all lists that are kept within a tick; 8 bytes each, and as many of the tick before.
	maxRelated = 4 << 20
	// maxSimilar is how many neighbours of an item are looked at.
	maxSimilar = 200
	// maxRemade is how many lists of the tick before one personal list makes anew.
	maxRemade = 1
)

// similarCache keeps the neighbours of items for one tick of the published lists. Neighbours change with every event, but lists that are not personal must be
// equal within a tick, and an item's list is made once for all who ask. Personal lists may read those of the tick before. Otherwise everybody who comes after a
// tick would wait for ten lists.
type similarCache struct {
	personal Personal

	mu     sync.RWMutex // guards what follows
	tick   int64
	lists  map[similarKey]*related
	before map[similarKey]*related // of the tick before
	kept   int                     // entries
}

type similarKey struct {
	item     uint32
	halfLife time.Duration
}

// related are an item's neighbours. It is read-only.
type related struct {
	best   []relation // the best first
	sorted func() []relation
}

type relation struct {
	item  uint32
	score float32
}

var noRelated = new(related)

func newSimilarCache(p Personal) *similarCache {
	return &similarCache{personal: p, lists: make(map[similarKey]*related)}
}

// get lists what is looked at together with the item, as of the tick. 0 = nothing has been published yet: nothing is kept.
func (c *similarCache) get(item uint32, halfLife time.Duration, tick int64) *related {
	key := similarKey{item, halfLife}
	list, _, full := c.find(key, tick)
	switch {
	case list != nil:
		return list
	case full:
		return noRelated // what is not kept would differ within the tick
	}
	return c.keep(key, tick, c.make(item, halfLife))
}

// recent is get for a personal list, which has made some lists anew already.
func (c *similarCache) recent(item uint32, halfLife time.Duration, tick int64, remade *int) *related {
	list, before, _ := c.find(similarKey{item, halfLife}, tick)
	if list != nil {
		return list
	}
	if before != nil {
		if *remade == maxRemade {
			return before
		}
		*remade++
	}
	return c.get(item, halfLife, tick)
}

// find is the list of this tick, or else of the tick before. full tells that no further list is kept.
func (c *similarCache) find(key similarKey, tick int64) (list, before *related, full bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	switch {
	case tick == 0 || tick < c.tick:
		return nil, nil, tick != 0 && c.kept >= maxRelated
	case tick > c.tick:
		return nil, c.lists[key], false
	}
	return c.lists[key], c.before[key], c.kept >= maxRelated
}

// keep keeps a list for the tick. If another request was faster, what it answered with holds.
func (c *similarCache) keep(key similarKey, tick int64, list *related) *related {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tick > c.tick {
		c.tick, c.kept, c.before, c.lists = tick, 0, c.lists, make(map[similarKey]*related, len(c.lists))
	}
	if tick == 0 || tick != c.tick {
		return list
	}
	if first := c.lists[key]; first != nil {
		return first
	}
	c.lists[key] = list
	c.kept += 1 + len(list.best)
	return list
}

func (c *similarCache) make(item uint32, halfLife time.Duration) *related {
	found := c.personal.Together(nil, item, c.personal.Now(), halfLife, maxSimilar)
	if len(found) == 0 {
		return noRelated
	}
	list := &related{best: make([]relation, len(found))}
	for i := range found {
		list.best[i] = relation{found[i].Item, float32(found[i].Score)}
	}
	list.sorted = sync.OnceValue(func() []relation {
		return slices.SortedFunc(slices.Values(list.best), func(a, b relation) int { return cmp.Compare(a.item, b.item) })
	})
	return list
}

// share is how much an item belongs to the list, relative to the score of what belongs most.
func (l *related) share(item uint32, most float32) float64 {
	sorted := l.sorted()
	at, found := slices.BinarySearchFunc(sorted, item, func(r relation, item uint32) int { return cmp.Compare(r.item, item) })
	if !found {
		return 0
	}
	return float64(sorted[at].score / most)
}

// published are the lists of one tick in numbers, with what the catalogue says of them. It is read-only.
type published struct {
	lists             *trending.Lists
	snapshot          *catalog.Snapshot
	popular, trending []items.Scored
	most              float64          // score of the most popular item that lists may hold
	popularity        []float32        // by item number, relative to most
	byCategory        [][]items.Scored // by category number: its items of popular, with their popularity
}

// publisher makes them, once a tick and catalogue.
type publisher struct {
	ids     *itemid.Table
	current atomic.Pointer[published]

	mu sync.Mutex // held while they are made
}

func (p *publisher) of(lists *trending.Lists, snapshot *catalog.Snapshot) *published {
	known := p.current.Load()
	if known != nil && known.lists == lists && known.snapshot == snapshot {
		return known
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known = p.current.Load(); known != nil && known.lists == lists && known.snapshot == snapshot {
		return known
	}
	next := &published{lists: lists, snapshot: snapshot}
	same := known != nil && known.lists == lists
	if same {
		next.popular, next.trending = known.popular, known.trending
	} else {
		next.popular, next.trending = p.number(lists.Popular), p.number(lists.Trending)
		if known != nil { // a request that still reads them has a minute
			p.release(known.popular)
			p.release(known.trending)
		}
	}
	if next.most = next.mostPopular(); same && known.most == next.most {
		next.popularity = known.popularity
	} else {
		next.rate()
	}
	next.shelve()
	p.current.Store(next)
	return next
}

// number turns a list into numbers, which it refers to.
func (p *publisher) number(list []scored.Item) []items.Scored {
	out := make([]items.Scored, len(list))
	for i := range list {
		out[i] = items.Scored{Item: p.ids.Acquire(list[i].ItemID), Score: list[i].Score}
	}
	return out
}

func (p *publisher) release(list []items.Scored) {
	for i := range list {
		p.ids.Release(list[i].Item)
	}
}

// mostPopular is the score of the first of popular that lists may hold.
func (p *published) mostPopular() float64 {
	for i := range p.popular {
		if !p.snapshot.Posted() || p.snapshot.At(p.popular[i].Item) != nil {
			return p.popular[i].Score
		}
	}
	return 0
}

// rate makes the popularity.
func (p *published) rate() {
	if p.most <= 0 {
		return
	}
	for i := range p.popular {
		p.popularity = covering(p.popularity, p.popular[i].Item)
		p.popularity[p.popular[i].Item] = float32(p.popular[i].Score / p.most)
	}
}

// shelve sorts the popular ones by category.
func (p *published) shelve() {
	p.byCategory = make([][]items.Scored, p.snapshot.CategoryNumbers())
	for i := range p.popular {
		for _, category := range p.snapshot.Shape(p.popular[i].Item).Flat {
			p.byCategory[category] = append(p.byCategory[category], items.Scored{Item: p.popular[i].Item, Score: p.popularityOf(p.popular[i].Item)})
		}
	}
}

// popularityOf is how popular an item that lists may hold is, 0–1.
func (p *published) popularityOf(item uint32) float64 {
	if int(item) >= len(p.popularity) {
		return 0
	}
	return float64(p.popularity[item])
}

// of are a category's items of the popular ones, with their popularity.
func (p *published) of(category uint32) []items.Scored {
	if int(category) >= len(p.byCategory) {
		return nil
	}
	return p.byCategory[category]
}
