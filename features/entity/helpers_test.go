package entity

import (
	"sluice/features/featurestest"
	"sluice/internal/stream"
)

// harness drives the engine.
type harness struct{ *featurestest.Harness }

func newHarness(t featurestest.T, e stream.Engine, apply func([]stream.Record)) harness {
	return harness{featurestest.New(t, e, apply)}
}
