package features

import (
	"sluice/features/entity"
	"sluice/features/history"
	"sluice/features/profile"
	"sluice/features/trending"
	"sluice/internal/stream"
)

// Projections are what a state digest compares, by engine: stores profiles, footprints, contributions and entities. They hold no floors and no clocks.
func Projections() map[string]stream.Projection {
	return map[string]stream.Projection{
		"personal": profile.Projection(),
		"history":  history.Projection(),
		"trending": trending.Projection(),
		"entity":   entity.Projection(),
	}
}
