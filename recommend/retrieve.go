package recommend

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/features/profile"
	"sluice/features/scored"
	"sluice/features/trending"
	"sluice/internal/catalog"
	"sluice/recommend/rank"
)

const (
	// maxScanned bounds the items of a category that are looked at, in catalogue order.
	maxScanned = 1000
	// maxAffinities is how many of the categories that a person comes back to are looked at.
	maxAffinities = 8
)

// retrieval gathers the candidates of one list and blends what the retrievers say of them.
type retrieval struct {
	service *service
	query   *query
	gate    *gate
	lists   *trending.Lists
	profile *known // nil: not personal
	clock   int64  // "now" for decay, Unix microseconds
	*scratch

	// Of the retriever that runs.
	number int
	want   int
	first  int     // its first hit
	most   float64 // its highest score, of items that may not be shown, too: pages after the first are scaled alike
}

// scratch is a retrieval's memory. It is used again: thousands of candidates a request would keep the garbage collector busy.
type scratch struct {
	index   map[string]int32 // item → place in entries
	entries []entry
	hits    []hit
	sums    sums
	ranked  []rank.Candidate
}

var scratches = sync.Pool{New: func() any {
	return &scratch{index: make(map[string]int32), sums: sums{index: make(map[string]int32)}}
}}

// release gives the memory back. Nothing of the retrieval may be used after it.
func (r *retrieval) release() {
	clear(r.index)
	clear(r.entries)
	clear(r.hits)
	clear(r.ranked)
	r.sums.reset()
	r.entries, r.hits, r.ranked = r.entries[:0], r.hits[:0], r.ranked[:0]
	scratches.Put(r.scratch)
	r.scratch = nil
}

// entry is a candidate.
type entry struct {
	id     string
	item   *catalog.Item
	factor float64 // of the policies for seen items
	score  float64
	hit    int32 // its last hit, −1 = none
}

// hit is what one retriever says of a candidate.
type hit struct {
	entry     int32
	before    int32 // the entry's hit before this one, −1 = none
	retriever int
	score     float64
	cause     string
}

// run asks the retrievers one after the other. It gives up, with false, once the deadline has passed.
func (r *retrieval) run(retrievers []Retriever, late func() bool) bool {
	var total float64
	for i := range retrievers {
		total += retrievers[i].Weight
	}
	for i := range retrievers {
		if late() {
			return false
		}
		r.number, r.want, r.first, r.most = i, retrievers[i].Candidates, len(r.hits), 0
		retrieverKinds[retrievers[i].Name].fetch(r, &retrievers[i])
		r.blend(retrievers[i].Weight / total)
	}
	return !late()
}

// blend adds the running retriever's scores, relative to its highest, to those of the candidates.
func (r *retrieval) blend(share float64) {
	for i := r.first; i < len(r.hits); i++ {
		h := &r.hits[i]
		e := &r.entries[h.entry]
		h.score *= share * e.factor / r.most
		e.score += h.score
	}
}

// propose adds a candidate if the gate admits it. It tells whether the retriever may propose more.
func (r *retrieval) propose(id string, score float64, cause string) bool {
	if !(score > 0) {
		return true
	}
	r.most = max(r.most, score)
	place, known := r.index[id]
	if !known {
		item, factor, ok := r.gate.admit(id)
		if !ok {
			return true
		}
		place = int32(len(r.entries))
		r.index[id] = place
		r.entries = append(r.entries, entry{id: id, item: item, factor: factor, hit: -1})
	}
	e := &r.entries[place]
	if e.hit >= int32(r.first) {
		return true // this retriever has named it already
	}
	r.hits = append(r.hits, hit{entry: place, before: e.hit, retriever: r.number, score: score, cause: cause})
	e.hit = int32(len(r.hits) - 1)
	r.want--
	return r.want > 0
}

func (r *retrieval) proposeAll(list []scored.Item) {
	for i := range list {
		if !r.propose(list[i].ItemID, list[i].Score, list[i].Cause) {
			return
		}
	}
}

// candidates are the entries as rank takes them: the best first, ties by id. Tag is the entry's place.
func (r *retrieval) candidates() []rank.Candidate {
	for i := range r.entries {
		e := &r.entries[i]
		r.ranked = append(r.ranked, rank.Candidate{ID: e.id, Item: e.item, Score: e.score, Tag: i})
	}
	slices.SortFunc(r.ranked, func(a, b rank.Candidate) int { return byScore(a.Score, b.Score, a.ID, b.ID) })
	return r.ranked
}

// byScore orders by score, the highest first, ties by id.
func byScore(a, b float64, idA, idB string) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	default:
		return strings.Compare(idA, idB)
	}
}

// filler gives what the catalogue has beside the candidates, in its own order.
func (r *retrieval) filler() func() (rank.Candidate, bool) {
	items := r.gate.snapshot.Order(r.gate.now)
	if r.gate.category != "" {
		items = slices.Collect(r.gate.snapshot.Category(r.gate.category))
	}
	return func() (rank.Candidate, bool) {
		for len(items) > 0 {
			item := items[0]
			items = items[1:]
			if _, known := r.index[item.ItemId]; known {
				continue
			}
			if _, ok := r.gate.admits(item.ItemId, item); ok {
				return rank.Candidate{ID: item.ItemId, Item: item, Tag: -1}, true
			}
		}
		return rank.Candidate{}, false
	}
}

// asked is how many items to ask of a view, so that enough remain when those are taken out that may not be shown.
func (r *retrieval) asked(ret *Retriever) int {
	n := ret.Candidates
	if r.gate.category != "" {
		n = maxCandidates
	}
	return n + len(r.gate.page) + len(r.gate.shown) + len(r.gate.seen)
}

func (r *retrieval) sessionKNN(ret *Retriever) {
	var named uint64
	if r.service.Session != nil && r.query.session != "" {
		named = r.service.Session(r.query.session)
	}
	session := r.profile.session(named, r.query.context.ItemIDs, r.clock)
	r.proposeAll(r.service.Personal.SessionNeighbours(session, r.clock, profile.KNN{Neighbours: ret.Neighbours, Sample: ret.Sample, Limit: r.asked(ret)}))
}

// coVisitation sums what was looked at together with the items touched last. A touch counts by its type, and by how many came after it.
func (r *retrieval) coVisitation(ret *Retriever) {
	sums := r.sums.reset()
	weight := 1.0
	for _, t := range r.profile.newest() {
		for _, s := range r.service.Personal.CoVisited(t.ItemID, r.clock, ret.HalfLife, maxSimilar) {
			sums.add(s.ItemID, s.Score*weight*interest[t.Type], t.ItemID)
		}
		weight *= 0.9
	}
	r.proposeAll(sums.list())
}

// affinity proposes items by what share of the person's interest their categories have: the popular ones, and the newest of the categories with the largest shares.
func (r *retrieval) affinity(ret *Retriever) {
	affinities := make(map[string]float64)
	for _, part := range r.profile.parts {
		for name, value := range profile.Affinity(part, r.categoriesOf, r.clock, ret.HalfLife) {
			affinities[name] += value
		}
	}
	names := slices.SortedFunc(maps.Keys(affinities), func(a, b string) int {
		return byScore(affinities[a], affinities[b], a, b)
	})
	sums, popular := r.sums.reset(), r.service.popular.of(r.lists)
	add := func(item *catalog.Item) {
		if item == nil {
			return
		}
		var share float64
		for _, name := range item.CategoryNames() {
			share += affinities[name]
		}
		if share > 0 {
			sums.put(item.ItemId, share*(1+popular[item.ItemId]))
		}
	}
	for i := range r.lists.Popular {
		add(r.gate.snapshot.Item(r.lists.Popular[i].ItemID))
	}
	for _, name := range names[:min(len(names), maxAffinities)] {
		scanned := 0
		for item := range r.gate.snapshot.Category(name) {
			if scanned++; scanned > ret.Candidates {
				break
			}
			add(item)
		}
	}
	r.proposeAll(sums.list())
}

func (r *retrieval) categoriesOf(id string) []string {
	if item := r.gate.snapshot.Item(id); item != nil {
		return item.CategoryNames()
	}
	return nil
}

func (r *retrieval) popular(*Retriever) { r.proposeAll(r.lists.Popular) }

func (r *retrieval) trending(*Retriever) { r.proposeAll(r.lists.Trending) }

// latest proposes the catalogue from its newest item on; each counts a little less than the one before.
func (r *retrieval) latest(ret *Retriever) {
	order := r.gate.snapshot.Order(r.gate.now)
	for i, item := range order {
		if !r.propose(item.ItemId, 1/(1+float64(i)/float64(ret.Candidates)), "") {
			return
		}
	}
}

// sameCategory proposes the popular, then the new, of the page's category, or else of the narrowest categories of the page's items.
func (r *retrieval) sameCategory(*Retriever) {
	names := []string{r.query.context.Category}
	if names[0] == "" {
		names = r.pageCategories()
	}
	popular := r.service.popular.of(r.lists)
	sums := r.sums.reset()
	for _, name := range names {
		scanned := 0
		for item := range r.gate.snapshot.Category(name) {
			if scanned++; scanned > maxScanned {
				break
			}
			newness := 1 - float64(scanned)/(maxScanned+1)
			sums.add(item.ItemId, 1+2*popular[item.ItemId]+newness, "")
		}
	}
	r.proposeAll(sums.list())
}

func (r *retrieval) pageCategories() []string {
	var names []string
	for _, id := range r.query.context.ItemIDs {
		item := r.gate.snapshot.Item(id)
		if item == nil {
			continue
		}
		for _, name := range item.NarrowestCategories() {
			if len(names) < maxAffinities && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// similar sums what is looked at together with the page's items, as of the lists' tick.
func (r *retrieval) similar(ret *Retriever) {
	sums := r.sums.reset()
	for _, id := range r.query.context.ItemIDs {
		for _, s := range r.service.similar.get(id, ret.HalfLife, r.lists.Tick) {
			sums.add(s.ItemID, s.Score, id)
		}
	}
	r.proposeAll(sums.list())
}

// search proposes the items that match the page's search term, in the order in which the catalogue finds them.
func (r *retrieval) search(ret *Retriever) {
	for i, item := range r.gate.snapshot.Search(r.query.context.SearchTerm, r.asked(ret)) {
		if !r.propose(item.ItemId, 1/(1+float64(i)/float64(ret.Candidates)), "") {
			return
		}
	}
}

// sums adds up scores by item, and remembers which cause gave the most.
type sums struct {
	index map[string]int32
	items []scored.Item
	most  []float64
}

// reset empties the sums.
func (s *sums) reset() *sums {
	clear(s.index)
	clear(s.items)
	s.items, s.most = s.items[:0], s.most[:0]
	return s
}

// put adds an item unless it is there already.
func (s *sums) put(item string, score float64) {
	if _, known := s.index[item]; !known {
		s.add(item, score, "")
	}
}

func (s *sums) add(item string, score float64, cause string) {
	at, known := s.index[item]
	if !known {
		at = int32(len(s.items))
		s.index[item] = at
		s.items = append(s.items, scored.Item{ItemID: item})
		s.most = append(s.most, 0)
	}
	s.items[at].Score += score
	if score > s.most[at] {
		s.most[at], s.items[at].Cause = score, cause
	}
}

// list is by score, ties by id. It ends the sums, and holds until they are reset.
func (s *sums) list() []scored.Item {
	slices.SortFunc(s.items, func(a, b scored.Item) int { return byScore(a.Score, b.Score, a.ItemID, b.ItemID) })
	return s.items
}

// coVisitationSimilarity is how often a candidate is looked at together with a picked item, relative to what is most often.
func (r *retrieval) coVisitationSimilarity(halfLife time.Duration) func(*rank.Candidate) func(*rank.Candidate) float64 {
	return func(picked *rank.Candidate) func(*rank.Candidate) float64 {
		list := r.service.similar.get(picked.ID, halfLife, r.lists.Tick)
		together := make(map[string]float64, len(list))
		for i := range list {
			if list[i].Score > 0 {
				together[list[i].ItemID] = list[i].Score / list[0].Score
			}
		}
		return func(c *rank.Candidate) float64 { return together[c.ID] }
	}
}
