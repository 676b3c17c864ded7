package profile

import (
	"math"
	"sync"
	"time"

	"sluice/features/record"
)

// items is everything that is known about items, as a fold over people's current records. Inside, an item is a number, given once and never again.
// One goroutine writes.
//
// Lock order: items.mu, then one item's mu.
type items struct {
	mu      sync.RWMutex // guards what follows, not the items themselves
	numbers map[string]uint32
	byID    []*item // by number; nil once nobody's history has it any more
}

// item is one item's part in people's histories.
type item struct {
	name string
	refs int // touches in current histories; the writer's alone

	mu       sync.RWMutex // guards what follows
	people   map[uint32]int32
	weights  map[edge]int64
	postings postings
}

// edge is a neighbour (low 32 bits) in a landmark of a half-life (high 32 bits: place of the half-life, number of the landmark).
type edge uint64

func newItems() *items { return &items{numbers: make(map[string]uint32)} }

func (x *items) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.numbers)
}

// number is the number of the item called name; it is made if there is none.
func (x *items) number(id []byte) uint32 {
	if n, ok := x.numbers[string(id)]; ok { // only this goroutine writes
		return n
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	n := uint32(len(x.byID))
	name := string(id)
	x.numbers[name] = n
	x.byID = append(x.byID, &item{name: name, people: make(map[uint32]int32), weights: make(map[edge]int64)})
	return n
}

// ref notes touches that came (+) or went (−). An item without touches is forgotten.
func (x *items) ref(number uint32, by int) {
	it := x.byID[number]
	if it.refs += by; it.refs > 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.numbers, it.name)
	x.byID[number] = nil
}

// find is the item called name, nil if nobody's history has it.
func (x *items) find(name string) *item {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if n, ok := x.numbers[name]; ok {
		return x.byID[n]
	}
	return nil
}

// landmarkLives is the number of half-lives between two landmarks: a sum of contributions, each at most 2^(10+landmarkLives) times a weight, stays in int64.
const landmarkLives = 32

// decay is one half-life of forward decay: a contribution at time t weighs 2^((t − L)/H) with L the newest landmark at or before t. Sums are kept per landmark.
type decay struct{ half, period int64 } // microseconds

func newDecay(halfLife time.Duration) decay {
	return decay{half: halfLife.Microseconds(), period: landmarkLives * halfLife.Microseconds()}
}

// landmark is the number of the landmark of t, and 2^((t − L)/H).
func (d decay) landmark(t int64) (number int64, growth float64) {
	number = record.FloorDiv(t, d.period)
	return number, math.Exp2(float64(t-number*d.period) / float64(d.half))
}

// edgeAt is the edge to a neighbour in a landmark of the half-life at place.
func edgeAt(place int, landmark int64, to uint32) edge {
	return edge(place)<<56 | edge(uint32(landmark)&0xffffff)<<32 | edge(to)
}

// change folds a change of the pair with a neighbour. What comes back to zero is gone.
func (it *item) change(to uint32, deltas []delta, people int32) {
	it.mu.Lock()
	defer it.mu.Unlock()
	for _, d := range deltas {
		if d.by != 0 {
			add(it.weights, d.at|edge(to), d.by)
		}
	}
	if people != 0 {
		add(it.people, to, people)
	}
}

func add[K comparable, N int32 | int64](m map[K]N, key K, by N) {
	if n := m[key] + by; n != 0 {
		m[key] = n
	} else {
		delete(m, key)
	}
}

// neighbours yields the neighbours of at least k people with their decayed weight at now. Older than the last two landmarks, nothing weighs anything any more.
func (it *item) neighbours(d decay, place int, k int32, now int64, yield func(to uint32, weight float64)) {
	it.mu.RLock()
	defer it.mu.RUnlock()
	landmark, growth := d.landmark(now)
	shrink := math.Exp2(-landmarkLives)
	for to, n := range it.people {
		if n < k {
			continue
		}
		sum := float64(it.weights[edgeAt(place, landmark, to)]) + float64(it.weights[edgeAt(place, landmark-1, to)])*shrink
		if sum > 0 {
			yield(to, sum/(growth*contributionUnit))
		}
	}
}

// contributionUnit is the integer weight of a contribution of weight 1 at its landmark.
const contributionUnit = 1 << 10
