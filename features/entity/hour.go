package entity

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"sluice/features/spec"
	"sluice/features/statepb"
	"sluice/internal/vocab"
)

// foldInto adds an entry (time within its day) to its hour. The result depends on the set of entries alone.
func foldInto(h *statepb.EntityHour, e *entry, exact int) {
	minute, currency := uint32(e.time%hourMicros/minuteMicros), e.currency.number()
	at, found := slices.BinarySearchFunc(h.Minutes, minute, func(m *statepb.Minute, minute uint32) int {
		return cmp.Or(cmp.Compare(m.Minute, minute), cmp.Compare(m.Type, e.typ), cmp.Compare(m.Currency, currency))
	})
	if !found {
		h.Minutes = slices.Insert(h.Minutes, at, &statepb.Minute{Minute: minute, Type: e.typ, Currency: currency})
	}
	addToMinute(h.Minutes[at], e)
	for i, hash := range e.hashes {
		if hash != 0 {
			addHash(distinctOf(h, e.typ, spec.Kinds[i]), hash, exact)
		}
	}
}

func addToMinute(m *statepb.Minute, e *entry) {
	m.Count++
	if !e.hasValue {
		return
	}
	if m.Valued == 0 || e.value > m.Max {
		m.Max = e.value
	}
	m.Valued++
	m.Sum += e.value
	high, low := square(e.value)
	m.SquaresHigh, m.SquaresLow = add128(m.SquaresHigh, m.SquaresLow, high, low)
}

// square is v² in 128 bits.
func square(v int64) (high, low uint64) {
	u := uint64(v)
	if v < 0 {
		u = -u
	}
	return bits.Mul64(u, u)
}

// add128 is the sum of two numbers of 128 bits.
func add128(aHigh, aLow, bHigh, bLow uint64) (high, low uint64) {
	low, carry := bits.Add64(aLow, bLow, 0)
	high, _ = bits.Add64(aHigh, bHigh, carry)
	return high, low
}

func distinctOf(h *statepb.EntityHour, typ vocab.Type, k spec.Kind) *statepb.Distinct {
	at, found := slices.BinarySearchFunc(h.Distinct, typ, func(d *statepb.Distinct, typ vocab.Type) int {
		return cmp.Or(cmp.Compare(d.Type, typ), cmp.Compare(d.Kind, uint32(k)))
	})
	if !found {
		h.Distinct = slices.Insert(h.Distinct, at, &statepb.Distinct{Type: typ, Kind: uint32(k)})
	}
	return h.Distinct[at]
}

// addHash adds to a set: exact up to the bound, a sketch beyond it.
func addHash(d *statepb.Distinct, hash uint64, exact int) {
	if len(d.Sketch) > 0 {
		sketch(d.Sketch).add(hash)
		return
	}
	at, found := slices.BinarySearch(d.Exact, hash)
	if found {
		return
	}
	d.Exact = slices.Insert(d.Exact, at, hash)
	if len(d.Exact) <= exact {
		return
	}
	d.Sketch = make([]byte, sketchSize)
	for _, h := range d.Exact {
		sketch(d.Sketch).add(h)
	}
	d.Exact = nil
}

// sketch is HyperLogLog with 256 one-byte registers (standard error 6.5 %). Its input is pseudonyms, which are uniform already. Its bytes depend on the set of
// hashes alone; a library's sparse form would depend on their order.
type sketch []byte

const sketchSize = 256

func (s sketch) add(hash uint64) {
	register, rest := hash>>56, hash<<8|1<<7
	s[register] = max(s[register], byte(bits.LeadingZeros64(rest)+1))
}

// estimate is the number of different hashes that were added.
func (s sketch) estimate() float64 {
	sum, zeros := 0.0, 0
	for _, r := range s {
		sum += math.Exp2(-float64(r))
		if r == 0 {
			zeros++
		}
	}
	const m = float64(sketchSize)
	estimate := 0.7213 / (1 + 1.079/m) * m * m / sum
	if zeros > 0 && estimate <= 2.5*m {
		return m * math.Log(m/float64(zeros)) // linear counting
	}
	return estimate
}
