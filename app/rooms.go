package app

import (
	"sluice/features/spec"
	"sluice/ingest/collector"
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

// loadRooms reads every room's sections. A later room is checked against what the earlier ones declare:
// features against the register's fields, rules against the features' names.
func loadRooms(c *Config) (*rooms, error) {
	var r rooms
	var err error
	if r.register, err = privacyfilter.Load(c.Section); err != nil {
		return nil, err
	}
	if r.features, err = spec.Load(c.Section, r.register); err != nil {
		return nil, err
	}
	if r.recommend, err = recommend.Load(c.Section); err != nil {
		return nil, err
	}
	if r.risk, err = risk.Load(c.Section, r.features.RiskNames()); err != nil {
		return nil, err
	}
	if r.collector, err = collector.Load(c.Section); err != nil {
		return nil, err
	}
	return &r, nil
}
