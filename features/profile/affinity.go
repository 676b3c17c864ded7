package profile

import (
	"time"

	"sluice/internal/vocab"
)

// affinityWeights is what one touch of a type tells about a person's interest.
var affinityWeights = map[vocab.Type]float64{
	vocab.Type_VIEW_ITEM: 1, vocab.Type_SELECT_ITEM: 1, vocab.Type_ADD_TO_WISHLIST: 2, vocab.Type_ADD_TO_CART: 3, vocab.Type_PURCHASE: 4,
}

// Affinity is how much of a person's recent interest goes to each category: shares that sum to 1 over one item's worth of categories, decayed from now
// (Unix microseconds). An item in several categories counts for each of them in part. Nil where there is nothing.
func Affinity(p *Profile, categories func(item string) []string, now int64, halfLife time.Duration) map[string]float64 {
	if p == nil || halfLife <= 0 {
		return nil
	}
	shares := make(map[string]float64)
	var total float64
	for i := range p.Touches {
		t := &p.Touches[i]
		names := categories(t.ItemID)
		weight := affinityWeights[t.Type]
		if len(names) == 0 || weight == 0 {
			continue
		}
		weight *= decayed(now-t.Time, halfLife)
		total += weight
		for _, name := range names {
			shares[name] += weight / float64(len(names))
		}
	}
	if total == 0 {
		return nil
	}
	for name := range shares {
		shares[name] /= total
	}
	return shares
}
