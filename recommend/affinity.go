package recommend

import (
	"math"
	"slices"
	"strings"
	"time"

	"sluice/features/items"
	"sluice/internal/vocab"
)

// maxAffinities is how many of the categories that a person comes back to are looked at.
const maxAffinities = 8

// affinityWeights is what one interaction of a type tells about a person's interest.
var affinityWeights = [64]float64{
	vocab.Type_VIEW_ITEM: 1, vocab.Type_SELECT_ITEM: 1, vocab.Type_ADD_TO_WISHLIST: 2, vocab.Type_ADD_TO_CART: 3, vocab.Type_PURCHASE: 4,
}

// shares are how much of a person's interest goes to each category.
type shares struct {
	of      []float64 // by category number
	touched []uint32  // categories with a share
	weights []float64 // of one identity's interactions
}

// reset empties the shares.
func (s *shares) reset() {
	for _, category := range s.touched {
		s.of[category] = 0
	}
	s.touched = s.touched[:0]
}

func (s *shares) add(category uint32, share float64) {
	s.of = covering(s.of, category)
	if s.of[category] == 0 {
		s.touched = append(s.touched, category)
	}
	s.of[category] += share
}

// affinity proposes items from the categories that have a share in the person's interest: the popular ones, and the newest of the largest shares.
func (r *retrieval) affinity(ret *Retriever) {
	r.shares.reset()
	for _, part := range r.parts {
		r.interest(part, ret.HalfLife)
	}
	sums, popular := r.sums.reset(), r.lists
	for _, category := range r.shares.touched {
		share := r.shares.of[category]
		for _, x := range popular.of(category) {
			sums.add(x.Item, share*(1+x.Score), 0)
		}
	}
	favourites := r.favourites()
	for _, category := range favourites {
		newest := r.gate.snapshot.Category(category)
		for _, number := range newest[:min(len(newest), ret.Candidates/len(favourites)+1)] {
			if !sums.has(number) {
				sums.add(number, r.shareOf(number)*(1+popular.popularityOf(number)), 0)
			}
		}
	}
	r.proposeSums()
}

// interest adds the shares of one identity's recent interest: they sum to 1 over one item's worth of categories, decayed from now. An item in several
// categories counts for each of them in part.
func (r *retrieval) interest(interactions []items.Interaction, halfLife time.Duration) {
	s := &r.shares
	s.weights = s.weights[:0]
	var total float64
	for i := range interactions {
		t, weight := &interactions[i], 0.0
		if r.gate.snapshot.Shape(t.Item).Placed() {
			weight = affinityWeights[t.Type&63] * decayed(r.clock-t.Time, halfLife)
		}
		s.weights = append(s.weights, weight)
		total += weight
	}
	for i, weight := range s.weights {
		if weight == 0 {
			continue
		}
		categories := r.gate.snapshot.Shape(interactions[i].Item).Flat
		for _, category := range categories {
			s.add(category, weight/total/float64(len(categories)))
		}
	}
}

// decayed is 2^(−age/halfLife), at most 1; age in microseconds.
func decayed(age int64, halfLife time.Duration) float64 {
	return math.Exp2(-float64(max(0, age)) / float64(halfLife.Microseconds()))
}

// favourites are the categories with the largest shares, ties by name.
func (r *retrieval) favourites() []uint32 {
	s := &r.shares
	slices.SortFunc(s.touched, func(a, b uint32) int {
		switch x, y := s.of[a], s.of[b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return strings.Compare(r.gate.snapshot.CategoryName(a), r.gate.snapshot.CategoryName(b))
	})
	return s.touched[:min(len(s.touched), maxAffinities)]
}

// shareOf is the share of an item's categories.
func (r *retrieval) shareOf(number uint32) float64 {
	var share float64
	for _, category := range r.gate.snapshot.Shape(number).Flat {
		if int(category) < len(r.shares.of) {
			share += r.shares.of[category]
		}
	}
	return share
}
