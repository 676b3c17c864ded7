// Package fault attacks a system made of processes: it cuts and stalls their connections, balances their load, and decides from a seed what to do when.
// It knows nothing of the system that it attacks.
package fault

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is what is done to a target.
type Kind string

// Kinds of faults.
const (
	Kill      Kind = "kill"      // SIGKILL, then a new start
	KillTwice Kind = "killtwice" // SIGKILL, a new start, and SIGKILL again before it can be ready
	Pause     Kind = "pause"     // SIGSTOP for a time, then SIGCONT
	Terminate Kind = "terminate" // SIGTERM, an orderly end, then a new start
	Cut       Kind = "cut"       // every connection is reset, and new ones are refused for a time
	Stall     Kind = "stall"     // no byte passes for a time
	Slow      Kind = "slow"      // every byte is late for a time
)

// Choice is a fault that a schedule may draw.
type Choice struct {
	Kind     Kind
	Targets  []string      // one of them is drawn
	Weight   int           // how often, against the other choices
	Min, Max time.Duration // how long it lasts; for KillTwice: after which time the second kill comes
}

// Fault is one drawn fault.
type Fault struct {
	N      int // from 1
	Kind   Kind
	Target string
	For    time.Duration // within the choice's bounds
	After  time.Duration // the calm before it
}

func (f Fault) String() string {
	if f.For == 0 {
		return fmt.Sprintf("%d: %s %s", f.N, f.Kind, f.Target)
	}
	return fmt.Sprintf("%d: %s %s, %v", f.N, f.Kind, f.Target, f.For.Round(time.Millisecond))
}

// Schedule draws faults. Equal seeds and menus give equal faults.
type Schedule struct {
	random *rand.Rand
	menu   []Choice
	calm   [2]time.Duration
	weight int
	n      int
}

// NewSchedule makes a schedule of what the menu offers, with a calm of minCalm to maxCalm before each fault.
// It panics if the menu offers nothing: that is a mistake in the calling program.
func NewSchedule(seed uint64, menu []Choice, minCalm, maxCalm time.Duration) *Schedule {
	s := &Schedule{random: rand.New(rand.NewPCG(seed, 0xfa17)), menu: menu, calm: [2]time.Duration{minCalm, maxCalm}} //nolint:gosec // reproducible faults
	for _, c := range menu {
		if len(c.Targets) == 0 || c.Weight < 1 || c.Min > c.Max {
			panic(fmt.Sprintf("fault: choice %s: targets, a weight from 1, and Min up to Max must be given", c.Kind))
		}
		s.weight += c.Weight
	}
	if s.weight == 0 {
		panic("fault: an empty menu")
	}
	return s
}

// Next is the next fault.
func (s *Schedule) Next() Fault {
	s.n++
	at := s.random.IntN(s.weight)
	for _, c := range s.menu {
		if at -= c.Weight; at < 0 {
			return Fault{
				N: s.n, Kind: c.Kind, Target: c.Targets[s.random.IntN(len(c.Targets))],
				For: s.between(c.Min, c.Max), After: s.between(s.calm[0], s.calm[1]),
			}
		}
	}
	panic("fault: weights do not add up") // cannot be
}

func (s *Schedule) between(low, high time.Duration) time.Duration {
	return low + time.Duration(s.random.Int64N(int64(high-low)+1))
}
