package main

import (
	"time"

	"sluice/features"
	"sluice/ingest/collector"
	"sluice/privacyfilter"
	"sluice/recommend"
	"sluice/risk"
)

// rooms is every room's own configuration, checked against one another.
type rooms struct {
	register  *privacyfilter.Register
	features  *features.Config
	recommend *recommend.Config
	risk      *risk.Config
	collector *collector.Config
}

// contributorWindows is the length of a trending window, and how many of them a purge must name a contributor's keys for: all that anyone keeps, the
// features or the warehouse.
func (r *rooms) contributorWindows() (window time.Duration, kept int) {
	window, kept = r.features.TrendingWindow()
	trending, ok := r.register.Purpose(privacyfilter.Trending)
	if !ok {
		return window, kept
	}
	keep := r.register.Retention(trending.Retention)
	return window, max(kept, int((keep+window-1)/window)+1)
}

// loadRooms reads every room's sections. A later room is checked against what the earlier ones declare:
// features against the register's fields, rules against the features' names.
func loadRooms(e *effectiveConfig) (*rooms, error) {
	var r rooms
	var err error
	if r.register, err = privacyfilter.Load(e.section); err != nil {
		return nil, err
	}
	if r.features, err = features.Load(e.section, r.register); err != nil {
		return nil, err
	}
	if r.recommend, err = recommend.Load(e.section); err != nil {
		return nil, err
	}
	if r.risk, err = risk.Load(e.section, r.features.RiskNames()); err != nil {
		return nil, err
	}
	if r.collector, err = collector.Load(e.section); err != nil {
		return nil, err
	}
	return &r, nil
}
