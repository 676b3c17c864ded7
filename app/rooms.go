package app

import (
	"sluice/features/spec"
	"sluice/ingest/collector"
	"sluice/internal/config"
	"sluice/privacyfilter"
	"sluice/recommend"
	"sluice/risk"
)

// rooms is every room's own configuration, checked against one another.
type rooms struct {
	register  *privacyfilter.Register
	features  *spec.Config
	recommend *recommend.Config
	risk      *risk.Config
	collector *collector.Config
}

// loadRooms reads every room's sections. A later room is checked against what the earlier ones declare: features against the register's fields, rules against
// the features' names. The error tells everything that is wrong; what rests on a register that does not load is checked against the built-in one.
func loadRooms(c *Config) (*rooms, error) {
	var (
		r      rooms
		faults config.Faults
	)
	builtin, err := privacyfilter.Load(c.builtinSection)
	if err != nil {
		return nil, err
	}
	if r.register, err = LoadRegister(c); err != nil {
		faults.Add(err)
		r.register = builtin
	}
	r.features, err = spec.Load(c.Section, r.register)
	faults.Add(err)
	r.recommend, err = recommend.Load(c.Section)
	faults.Add(err)
	r.risk, err = risk.Load(c.Section, r.features.RiskNames())
	faults.Add(err)
	r.collector, err = collector.Load(c.Section)
	faults.Add(err)
	return &r, c.explain(faults.Err())
}

// LoadRegister reads the register, which may only narrow the built-in one.
func LoadRegister(c *Config) (*privacyfilter.Register, error) {
	register, err := privacyfilter.Load(c.Section)
	if err != nil {
		return nil, c.explain(err)
	}
	builtin, err := privacyfilter.Load(c.builtinSection)
	if err != nil {
		return nil, err
	}
	return register, register.Narrows(builtin, c.Section)
}
