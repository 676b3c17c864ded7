package rank

import "sluice/internal/catalog"

// ByCategory is the similarity of two items' category paths, see catalog.Shape.Alike.
func ByCategory(catalogue *catalog.Snapshot) func(picked uint32) func(number uint32) float64 {
	return func(picked uint32) func(uint32) float64 {
		shape := catalogue.Shape(picked)
		return func(number uint32) float64 { return shape.Alike(catalogue.Shape(number)) }
	}
}
