// Package spec is what features.yaml declares: it loads the YAML, checks it against the register and compiles it.
package spec

import (
	"slices"
	"time"

	"sluice/internal/vocab"
	"sluice/privacyfilter"
)

// Config is the compiled features.yaml. It is immutable.
type Config struct {
	EventClock bool
	Risk       []*Feature          // in the file's order
	Names      []string            // of their windows, feature by feature
	counted    [len(Kinds)]TypeSet // events that some feature counts, by kind of entity
	Exact      int                 // hashes that a folded hour keeps before it sketches: the greatest exact_up_to

	Personal, History Profile
	CoVisits          CoVisits
	Sessions          Sessions
	Trending          Trending
}

// RiskNames lists the whole names of the risk features (payments_per_account_1h), in the order of Values.
func (c *Config) RiskNames() []string { return c.Names }

// OfInstruments tells whether a feature, by its whole name, is counted under a payment instrument, which only an order names.
func (c *Config) OfInstruments(name string) bool {
	for _, f := range c.Risk {
		if i := slices.Index(c.Names, name); i >= f.First && i < f.First+len(f.Windows) {
			return f.Kind == Instrument
		}
	}
	return false
}

// Counts tells whether a risk feature counts events of the type for entities of the kind. What none counts is neither sent to entities nor kept for them.
func (c *Config) Counts(entity byte, t vocab.Type) bool {
	place := Kind(entity).Place()
	return place >= 0 && c.counted[place].Has(t)
}

// TrendingWindow is the length of a trending window, and how many of them are kept, the present one included. The filter rotates contributor keys with it.
func (c *Config) TrendingWindow() (window time.Duration, kept int) {
	return c.Trending.Window, c.Trending.Kept
}

// ContributorWindows is the length of a trending window, and the number of windows for which a purge must name a contributor's keys: as many as the features or
// the warehouse keep, whichever keeps longer.
func (c *Config) ContributorWindows(reg *privacyfilter.Register) (window time.Duration, kept int) {
	window, kept = c.TrendingWindow()
	trending, ok := reg.Purpose(privacyfilter.Trending)
	if !ok {
		return window, kept
	}
	keep := reg.Retention(trending.Retention)
	return window, max(kept, int((keep+window-1)/window)+1)
}

// TypeSet is a set of event types: bit n for the type with the number n.
type TypeSet uint64

// Has tells whether the type is in the set.
func (s TypeSet) Has(t vocab.Type) bool { return t > 0 && t < 64 && s&(1<<uint(t)) != 0 }

// Feature is one declared aggregate over an entity's events.
type Feature struct {
	name    string
	Types   TypeSet
	Kind    Kind // of the entity that the events belong to
	Op      Operation
	Of      Kind    // what distinct counts
	OfPlace int     // place of it in an entry's hashes
	Windows []int64 // microseconds, ascending
	First   int     // place of its first window in Config.names
}

// Operation is what a feature computes.
type Operation uint8

// What a feature may compute.
const (
	OpCount Operation = iota + 1
	OpSum
	OpMean
	OpStddev
	OpMax
	OpDistinct
)

// Kind is an entity's kind byte, the first of its key.
type Kind byte

// Kinds of entities.
const (
	Account      Kind = 'a' // the subject: an account, or a visitor who has none
	Device       Kind = 'd'
	IP           Kind = 'i'
	Instrument   Kind = 'p'
	Counterparty Kind = 'c'
)

// Kinds lists the kinds in the order of an entry's hashes.
var Kinds = [...]Kind{Account, Device, IP, Instrument, Counterparty}

// Place is the kind's place in kinds, -1 for what is none.
func (k Kind) Place() int {
	for i, known := range Kinds {
		if k == known {
			return i
		}
	}
	return -1
}

// KeyFields are the fields that name an entity.
var KeyFields = map[string]Kind{
	"user_id": Account, "device.id": Device, "network.ip": IP, "order.payment_instrument": Instrument, "counterparty.id": Counterparty,
}

// Profile says what is kept of one person for a purpose.
type Profile struct {
	Types     TypeSet
	Keep      int
	Retention int64 // microseconds
}

// CoVisits says how pairs of items in people's histories are weighed.
type CoVisits struct {
	Weights   [64]float64 // by type
	Positions int
	Sample    int // newest sessions of an item: the people in them are looked at
	People    int
}

// Sessions says what a session is, and how many people must stand behind its neighbours.
type Sessions struct {
	Gap    int64 // microseconds
	People int
}

// Trending says what is counted for the lists of all.
type Trending struct {
	Types        TypeSet
	Window, Tick time.Duration
	Kept         int
	People       int
	PerPerson    int
	MinAge       time.Duration // that an acceptance must have for what the person does to count; 0 = none
}

// Longest is the longest window of a risk feature in microseconds.
func (c *Config) Longest() int64 {
	var longest int64
	for _, f := range c.Risk {
		longest = max(longest, f.Windows[len(f.Windows)-1])
	}
	return longest
}
