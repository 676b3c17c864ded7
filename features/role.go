package features

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/stream"
)

// Role is the engines of the features, one a purpose and one for entities, as a process works them: together, in one transaction at a time.
// With neither configuration nor registerer it names them and their inputs.
func Role(c *Config, reg prometheus.Registerer) stream.Role {
	return stream.Role{Name: "features", Engines: []stream.Engine{PersonalEngine(c, reg), HistoryEngine(c, reg), TrendingEngine(c, reg), EntityEngine(c, reg)}}
}
