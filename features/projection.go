package features

import (
	"sluice/internal/stream"
)

// Projections are what a state digest compares, by engine: stores profiles, footprints, contributions and entities. They hold no floors and no clocks.
func Projections() map[string]stream.Projection {
	return map[string]stream.Projection{
		"personal": personalProjection(),
		"history":  historyProjection(),
		"trending": trendingProjection(),
		"entity":   entityProjection,
	}
}
