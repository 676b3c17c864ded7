package app

import (
	"sluice/features/spec"
	"sluice/ingest/collector"
	"sluice/internal/config"
	"sluice/internal/quota"
	"sluice/privacyfilter"
	"sluice/recommend"
	"sluice/risk"
)

// rooms holds the configuration of every room. Each was checked against those that it rests on.
type rooms struct {
	register  *privacyfilter.Register
	features  *spec.Config
	recommend *recommend.Config
	risk      *risk.Config
	collector *collector.Config
	quotas    *quota.Config
}

// loadRooms reads every room's sections. It checks a later room against the earlier ones: features against the register's fields, rules against the features'
// names. The error tells everything that is wrong. If the register does not load, the others are checked against the built-in one.
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
	r.quotas, err = quota.Load(c.Section)
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
