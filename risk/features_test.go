package risk

import (
	"fmt"
	"testing"

	"sluice/features/entity"
	"sluice/features/record"
	"sluice/features/spec"
	"sluice/internal/config"
	"sluice/internal/stream"
	"sluice/privacyfilter"
)

// builtinFeatures loads what is built in of the register and the features.
func builtinFeatures(t testing.TB) *spec.Config {
	t.Helper()
	sections := func(data []byte) func(string) config.Section {
		file, err := config.Parse("built-in", data)
		if err != nil {
			t.Fatal(err)
		}
		return func(name string) config.Section {
			s, _ := file.Section(name)
			return s
		}
	}
	register, err := privacyfilter.Load(sections(privacyfilter.Defaults))
	if err != nil {
		t.Fatal(err)
	}
	c, err := spec.Load(sections(spec.Defaults), register)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBuiltInRulesReadBuiltInFeatures decides a burst of small payments with the real features.
func TestBuiltInRulesReadBuiltInFeatures(t *testing.T) {
	c := builtinFeatures(t)
	rules, err := Load(sectionsOf(t, "rules.yaml", ""), c.RiskNames())
	if err != nil {
		t.Fatal(err)
	}
	d := New(Options{Config: rules, Entities: entity.NewView(stream.Cluster{}, c, record.ViewOptions{})})
	for i, want := range []string{"allow 0 ", "allow 0 ", "allow 0 ", "allow 0 ", "allow 0 ", "challenge 300 card_testing_burst"} {
		ev := payment(fmt.Sprintf("event-of-16-by%02d", i))
		ev.EventHash, ev.Time = uint64(i+1), ev.Time+int64(i)*1e6
		ev.Instrument, ev.Device, ev.Subject = []byte("instrument-16-by"), []byte("device-of-16-byt"), []byte("subject-of-16-by")
		made := d.decide(ev, sourceLog, ev.Time)
		made.Undecided = nil
		if got := summary(made); got != want {
			t.Errorf("payment %d: %s, expected %s", i+1, got, want)
		}
		if len(made.Values) < len(c.RiskNames()) {
			t.Errorf("%d values are recorded", len(made.Values))
		}
	}
}
