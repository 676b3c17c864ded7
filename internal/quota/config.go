package quota

import (
	_ "embed"

	"sluice/internal/config"
)

// Defaults is the built-in configuration.
//
//go:embed quotas.yaml
var Defaults []byte

// Limit is how much one key, address or subject may ask for: Burst at once after a rest, and Rate a second in the long run. A rate of 0 is no limit.
type Limit struct {
	Rate  float64 `yaml:"rate"`
	Burst float64 `yaml:"burst"`
}

// Limits are those of one quota, by who is counted.
type Limits struct {
	Key     Limit `yaml:"key"`
	Address Limit `yaml:"address"`
	Subject Limit `yaml:"subject"`
}

// Config is the limits of every quota.
type Config struct {
	Events      Limits `yaml:"events"`
	Settings    Limits `yaml:"settings"`
	Withdrawals Limits `yaml:"withdrawals"` // by address alone
	Identities  Limits `yaml:"identities"`
	OptOuts     Limits `yaml:"opt_outs"`
	Blocks      int    `yaml:"blocks"` // items that one person may block, and as many categories; also with a server key
}

const (
	section    = "quotas"
	mostBlocks = 1000 // privacyfilter.MaxBlocks, which the filter holds to in any case
)

// Bounds of a limit. Within them no count of nanoseconds overflows.
const (
	minRate, maxRate   = 0.001, 1_000_000
	minBurst, maxBurst = 1, 1_000_000
)

// Load reads the section "quotas". The error is config.Errors: everything that is wrong, with line and column.
func Load(sections func(string) config.Section) (*Config, error) {
	c := new(Config)
	var faults config.Faults
	s := sections(section)
	faults.Add(s.Decode(c))
	for _, q := range []struct {
		path string
		of   Limits
	}{{".events", c.Events}, {".settings", c.Settings}, {".withdrawals", c.Withdrawals}, {".identities", c.Identities}, {".opt_outs", c.OptOuts}} {
		q.of.check(s, q.path, &faults)
	}
	for _, path := range []struct {
		path string
		of   Limit
	}{{".identities.subject", c.Identities.Subject}, {".opt_outs.subject", c.OptOuts.Subject}} {
		if path.of != (Limit{}) {
			faults.Add(s.Errorf(path.path, "must not be set: a subject is new once"))
		}
	}
	if c.Withdrawals.Key != (Limit{}) || c.Withdrawals.Subject != (Limit{}) {
		faults.Add(s.Errorf(".withdrawals", "must be set by address alone: no caller may use up what others withdraw, and a subject's count as its settings"))
	}
	if c.Blocks < 1 || c.Blocks > mostBlocks {
		faults.Add(s.Errorf(".blocks", "must be between 1 and %d", mostBlocks))
	}
	return c, faults.Err()
}

func (l *Limits) check(s config.Section, path string, faults *config.Faults) {
	for _, one := range []struct {
		name  string
		limit Limit
	}{{".key", l.Key}, {".address", l.Address}, {".subject", l.Subject}} {
		if r := one.limit.Rate; r != 0 && !(r >= minRate && r <= maxRate) { // what is no number is in no bounds
			faults.Add(s.Errorf(path+one.name+".rate", "must be between %g and %d a second, or 0 for no limit", minRate, maxRate))
		}
		if b := one.limit.Burst; one.limit.Rate != 0 && (b < minBurst || b > maxBurst) {
			faults.Add(s.Errorf(path+one.name+".burst", "must be between %d and %d", minBurst, maxBurst))
		}
	}
}
