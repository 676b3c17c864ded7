package rank

import "sluice/internal/catalog"

// ByCategory is the similarity of two items' category paths: the longest common beginning over the longer path's length, the best pair counts.
func ByCategory(picked *Candidate) func(*Candidate) float64 {
	if picked.Item == nil {
		return func(*Candidate) float64 { return 0 }
	}
	paths := picked.Item.Categories
	return func(c *Candidate) float64 {
		if c.Item == nil {
			return 0
		}
		return alike(paths, c.Item.Categories)
	}
}

func alike(a, b []*catalog.CategoryPath) float64 {
	var best float64
	for _, p := range a {
		for _, q := range b {
			longer := max(len(p.Names), len(q.Names))
			if longer == 0 {
				continue
			}
			common := 0
			for common < min(len(p.Names), len(q.Names)) && p.Names[common] == q.Names[common] {
				common++
			}
			best = max(best, float64(common)/float64(longer))
		}
	}
	return best
}
