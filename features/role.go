package features

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/entity"
	"sluice/features/history"
	"sluice/features/profile"
	"sluice/features/spec"
	"sluice/features/trending"
	"sluice/internal/stream"
)

// Role is the engines of the features, one a purpose and one for entities, as a process works them: together, in one transaction at a time.
// With neither configuration nor registerer it names them and their inputs.
func Role(c *spec.Config, reg prometheus.Registerer) stream.Role {
	return stream.Role{Name: "features", Engines: []stream.Engine{profile.Engine(c, reg), history.Engine(c, reg), trending.Engine(c, reg), entity.Engine(c, reg)}}
}
