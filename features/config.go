package features

import (
	"time"

	"sluice/internal/vocab"
	"sluice/privacyfilter"
)

// Config is the compiled features.yaml. It is immutable.
type Config struct {
	eventClock bool
	risk       []*feature          // in the file's order
	names      []string            // of their windows, feature by feature
	counted    [len(kinds)]typeSet // events that some feature counts, by kind of entity
	exact      int                 // hashes that a folded hour keeps before it sketches: the greatest exact_up_to

	personal, history profileConfig
	coVisits          coVisitConfig
	sessions          sessionConfig
	trending          trendingConfig
}

// RiskNames lists the whole names of the risk features (payments_per_account_1h), in the order of Values.
func (c *Config) RiskNames() []string { return c.names }

// Counts tells whether a risk feature counts events of the type for entities of the kind. What none counts is neither sent to entities nor kept for them.
func (c *Config) Counts(entity byte, t vocab.Type) bool {
	place := kind(entity).place()
	return place >= 0 && c.counted[place].has(t)
}

// HalfLives lists the half-lives that co-visitation is kept for.
func (c *Config) HalfLives() []time.Duration { return c.coVisits.halfLives }

// TrendingWindow is the length of a trending window, and how many of them are kept, the present one included. The filter rotates contributor keys with it.
func (c *Config) TrendingWindow() (window time.Duration, kept int) {
	return c.trending.window, c.trending.kept
}

// ContributorWindows is the length of a trending window, and how many of them a purge must name a contributor's keys for: all that anyone keeps, the
// features or, by the purpose's retention, the warehouse.
func (c *Config) ContributorWindows(reg *privacyfilter.Register) (window time.Duration, kept int) {
	window, kept = c.TrendingWindow()
	trending, ok := reg.Purpose(privacyfilter.Trending)
	if !ok {
		return window, kept
	}
	keep := reg.Retention(trending.Retention)
	return window, max(kept, int((keep+window-1)/window)+1)
}

// typeSet is a set of event types: bit n for the type with the number n.
type typeSet uint64

func (s typeSet) has(t vocab.Type) bool { return t > 0 && t < 64 && s&(1<<uint(t)) != 0 }

// feature is one declared aggregate over an entity's events.
type feature struct {
	name    string
	types   typeSet
	kind    kind // whose events
	op      operation
	of      kind    // what distinct counts
	ofPlace int     // place of it in an entry's hashes
	windows []int64 // microseconds, ascending
	first   int     // place of its first window in Config.names
}

type operation uint8

const (
	opCount operation = iota + 1
	opSum
	opMean
	opStddev
	opMax
	opDistinct
)

// kind is an entity's kind byte, the first of its key.
type kind byte

const (
	account      kind = 'a' // the subject: an account, or a visitor who has none
	device       kind = 'd'
	ip           kind = 'i'
	instrument   kind = 'p'
	counterparty kind = 'c'
)

// kinds lists the kinds in the order of an entry's hashes.
var kinds = [...]kind{account, device, ip, instrument, counterparty}

// place is the kind's place in kinds, -1 for what is none.
func (k kind) place() int {
	for i, known := range kinds {
		if k == known {
			return i
		}
	}
	return -1
}

// keyFields are the fields that name an entity.
var keyFields = map[string]kind{
	"user_id": account, "device.id": device, "network.ip": ip, "order.payment_instrument": instrument, "counterparty.id": counterparty,
}

// profileConfig says what is kept of one person for a purpose.
type profileConfig struct {
	types     typeSet
	keep      int
	retention int64 // microseconds
}

// coVisitConfig says how pairs of items in people's histories are weighed.
type coVisitConfig struct {
	weights   [64]float64 // by type
	positions int
	halfLives []time.Duration
	people    int
}

type sessionConfig struct {
	gap    int64 // microseconds
	people int
}

type trendingConfig struct {
	types        typeSet
	window, tick time.Duration
	kept         int
	people       int
	perPerson    int
}

// longest is the longest window of a risk feature in microseconds.
func (c *Config) longest() int64 {
	var longest int64
	for _, f := range c.risk {
		longest = max(longest, f.windows[len(f.windows)-1])
	}
	return longest
}
