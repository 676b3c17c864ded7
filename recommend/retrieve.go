package recommend

import (
	"slices"

	"sluice/features/items"
	"sluice/internal/itemid"
	"sluice/recommend/rank"
)

// maxScanned bounds the items of a category that are looked at, in catalogue order.
const maxScanned = 1000

// retrieval gathers the candidates of one list and blends what the retrievers say of them.
type retrieval struct {
	service *service
	query   *query
	gate    *gate
	lists   *published
	clock   int64 // "now" for decay, Unix microseconds
	own     []items.Subject
	*scratch

	// Of the retriever that runs.
	number int
	want   int
	first  int     // its first hit
	most   float64 // its highest score of what lists may hold, also of what may not be shown here: pages after the first are scaled alike
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

// blend adds the running retriever's scores, divided by its highest, to the candidates' scores.
func (r *retrieval) blend(share float64) {
	for i := r.first; i < len(r.hits); i++ {
		h := &r.hits[i]
		e := &r.entries[h.entry]
		h.score *= share * e.factor / r.most
		e.score += h.score
	}
}

// propose adds a candidate if the gate admits it. It tells whether the retriever may propose more.
func (r *retrieval) propose(number uint32, score float64, cause uint32) bool {
	if !(score > 0) {
		return true
	}
	c := r.cell(number)
	if c.place == unknown {
		c.place = r.admit(number, c)
	}
	if c.place == absent {
		return true
	}
	r.most = max(r.most, score)
	if c.place == refused {
		return true
	}
	e := &r.entries[c.place]
	if e.hit >= int32(r.first) {
		return true // this retriever has named it already
	}
	r.hits = append(r.hits, hit{entry: c.place, before: e.hit, retriever: int32(r.number), score: score, cause: cause})
	e.hit = int32(len(r.hits) - 1)
	r.want--
	return r.want > 0
}

// admit makes an entry of an item if it may be shown, and tells its place.
func (r *retrieval) admit(number uint32, c *cell) int32 {
	f := r.gate.snapshot.Facts(number)
	if !r.gate.lists(&f) {
		return absent
	}
	if c.factor == 0 || !r.gate.admits(number, &f) {
		return refused
	}
	r.entries = append(r.entries, entry{number: number, factor: float64(c.factor), hit: -1})
	return int32(len(r.entries) - 1)
}

func (r *retrieval) proposeAll(list []items.Scored) {
	for i := range list {
		if !r.propose(list[i].Item, list[i].Score, list[i].Cause) {
			return
		}
	}
}

// proposeSums proposes what was summed up, the best first.
func (r *retrieval) proposeSums() {
	for s := range r.sums.best {
		if !r.propose(s.Item, s.Score, s.Cause) {
			return
		}
	}
}

// candidates are the entries as rank takes them. Tag is the entry's place.
func (r *retrieval) candidates() []rank.Candidate {
	for i := range r.entries {
		r.ranked = append(r.ranked, rank.Candidate{Score: r.entries[i].score, Number: r.entries[i].number, Tag: int32(i)})
	}
	return r.ranked
}

// filler gives what the catalogue has beside the candidates, in its own order.
func (r *retrieval) filler() func() (rank.Candidate, bool) {
	next := r.catalogue()
	return func() (rank.Candidate, bool) {
		for number := next(); number != itemid.None; number = next() {
			f := r.gate.snapshot.Facts(number)
			if c := r.cell(number); c.place == unknown && c.factor > 0 && r.gate.admits(number, &f) {
				return rank.Candidate{Number: number, Tag: -1}, true
			}
		}
		return rank.Candidate{}, false
	}
}

// catalogue gives the items of the page's category, or all items with an available_from that has come, one after the other; itemid.None at the end.
func (r *retrieval) catalogue() func() uint32 {
	if r.gate.category != itemid.None {
		numbers := r.gate.snapshot.Category(r.gate.category)
		return func() (number uint32) {
			if len(numbers) > 0 {
				number, numbers = numbers[0], numbers[1:]
			}
			return number
		}
	}
	order := r.gate.snapshot.Order(r.gate.now)
	return func() (number uint32) {
		if len(order) > 0 {
			number, order = order[0].Number, order[1:]
		}
		return number
	}
}

// asked is how many items to ask of a view, so that enough remain when those are taken out that may not be shown.
func (r *retrieval) asked(ret *Retriever) int {
	n := ret.Candidates
	if r.gate.category != itemid.None {
		n = maxCandidates
	}
	return n + r.gate.page + len(r.gate.shown) + r.gate.seen
}

func (r *retrieval) sessionKNN(ret *Retriever) {
	var named uint64
	if r.service.Session != nil && r.query.session != "" {
		named = r.service.Session(r.query.session)
	}
	o := ret.KNN
	o.Limit = r.asked(ret)
	r.found = r.service.Personal.Neighbours(r.found[:0], r.session(named), r.own, r.clock, o)
	r.proposeAll(r.found)
}

// coVisitation sums what was looked at together with the items of the newest interactions. An interaction counts by its type, and by how many came after it.
func (r *retrieval) coVisitation(ret *Retriever) {
	sums := r.sums.reset()
	weight, remade := 1.0, 0
	for t := range r.newest {
		for _, s := range r.service.similar.recent(t.Item, ret.HalfLife, r.lists.lists.Tick, &remade).best {
			sums.add(s.item, float64(s.score)*weight*interest[t.Type&63], t.Item)
		}
		weight *= 0.9
	}
	r.proposeSums()
}

func (r *retrieval) popular(*Retriever) { r.proposeAll(r.lists.popular) }

func (r *retrieval) trending(*Retriever) { r.proposeAll(r.lists.trending) }

// latest proposes the catalogue from its newest item on; each counts a little less than the one before.
func (r *retrieval) latest(ret *Retriever) {
	order := r.gate.snapshot.Order(r.gate.now)
	for i, item := range order {
		if !r.propose(item.Number, 1/(1+float64(i)/float64(ret.Candidates)), itemid.None) {
			return
		}
	}
}

// sameCategory proposes the popular, then the new, of the page's category, or else of the narrowest categories of the page's items.
func (r *retrieval) sameCategory(*Retriever) {
	sums := r.sums.reset()
	for _, category := range r.pageCategories() {
		numbers := r.gate.snapshot.Category(category)
		for i, number := range numbers[:min(len(numbers), maxScanned)] {
			newness := 1 - float64(i+1)/(maxScanned+1)
			sums.add(number, 1+2*r.lists.popularityOf(number)+newness, itemid.None)
		}
	}
	r.proposeSums()
}

func (r *retrieval) pageCategories() []uint32 {
	if r.query.context.Category != "" {
		return []uint32{r.gate.snapshot.CategoryNumber(r.query.context.Category)}
	}
	var categories []uint32
	for _, id := range r.query.context.ItemIDs {
		item := r.gate.snapshot.Find(id)
		if item == nil {
			continue
		}
		for path := range item.Paths {
			if len(path) == 0 {
				continue
			}
			narrowest := path[len(path)-1]
			if len(categories) < maxAffinities && !slices.Contains(categories, narrowest) {
				categories = append(categories, narrowest)
			}
		}
	}
	return categories
}

// similar sums what is looked at together with the page's items, as of the lists' tick.
func (r *retrieval) similar(ret *Retriever) {
	sums := r.sums.reset()
	for _, id := range r.query.context.ItemIDs {
		item := r.service.IDs.Find(id)
		for _, s := range r.service.similar.get(item, ret.HalfLife, r.lists.lists.Tick).best {
			sums.add(s.item, float64(s.score), item)
		}
	}
	r.proposeSums()
}

// search proposes the items that match the page's search term, in the order in which the catalogue finds them.
func (r *retrieval) search(ret *Retriever) {
	for i, item := range r.gate.snapshot.Search(r.query.context.SearchTerm, r.asked(ret)) {
		if !r.propose(item.Number, 1/(1+float64(i)/float64(ret.Candidates)), itemid.None) {
			return
		}
	}
}

// coVisitationSimilarity is how often a candidate is looked at together with a picked item, relative to what is most often.
func (r *retrieval) coVisitationSimilarity(picked uint32) func(uint32) float64 {
	list := r.service.similar.get(picked, halfLifeUnset, r.lists.lists.Tick)
	for i := range list.best { // what the catalogue lacks is no measure
		if f := r.gate.snapshot.Facts(list.best[i].item); r.gate.lists(&f) {
			most := list.best[i].score
			return func(item uint32) float64 { return list.share(item, most) }
		}
	}
	return func(uint32) float64 { return 0 }
}
