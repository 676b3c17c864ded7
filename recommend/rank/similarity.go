package rank

// ByCategory is the similarity of two items' category paths, see catalog.Entry.Alike.
func ByCategory(picked *Candidate) func(*Candidate) float64 {
	if picked.Item == nil {
		return func(*Candidate) float64 { return 0 }
	}
	return func(c *Candidate) float64 {
		if c.Item == nil {
			return 0
		}
		return picked.Item.Alike(c.Item)
	}
}
