package quota

import (
	"cmp"
	"slices"
	"time"

	"sluice/internal/httpx"
)

// fineShare is the part of its events that a refused batch costs its address: whoever sends one after the other is soon refused before the body is read.
const fineShare = 10

// Batch is how a request's events are counted: all of them, or none but for the fine. It is not safe for concurrent use. A batch of a caller without quotas
// counts nothing.
type Batch struct {
	c     Caller
	paid  [kinds]int // tokens of the address and of the key; those of subjects are in owed
	owed  []owed
	last  string // the subject counted last: the events of a request are mostly one person's
	taken bool   // owed was taken
}

// owed is tokens of one subject.
type owed struct {
	id uint64
	n  int
}

// Batch counts about n events by address and key, before the node keeps anything for them.
func (c Caller) Batch(n int) (Batch, *httpx.Problem) {
	b := Batch{c: c}
	if c.q == nil {
		return b, nil
	}
	problem := b.pay(n)
	return b, problem
}

// Event notes an event of a subject.
func (b *Batch) Event(subject string) {
	switch {
	case b.c.q == nil:
		return
	case len(b.owed) > 0 && b.last == subject:
		b.owed[len(b.owed)-1].n++
	default:
		b.owed, b.last = append(b.owed, owed{b.c.subject(subject), 1}), subject
	}
}

// Settle counts the events that were noted by their subjects, and all n that came by address and key in place of what Batch counted.
func (b *Batch) Settle(n int) *httpx.Problem {
	if b.c.q == nil {
		return nil
	}
	b.merge()
	if wait := b.takeSubjects(); wait > 0 {
		return b.refuse(&b.c.q.events, bySubject, wait, n)
	}
	return b.pay(n)
}

// Identities counts n people of whom nothing was known, after Settle.
func (b *Batch) Identities(n int) *httpx.Problem {
	if b.c.q == nil {
		return nil
	}
	if kind, wait := b.c.takeAll(&b.c.q.identities, n); wait > 0 {
		return b.refuse(&b.c.q.identities, kind, wait, b.paid[byAddress])
	}
	return nil
}

// Return gives back all that was taken: the node did not do its part.
func (b *Batch) Return() {
	if b.c.q == nil {
		return
	}
	of := &b.c.q.events.tables
	of[byAddress].give(b.c.address, b.paid[byAddress])
	of[byKey].give(b.c.key, b.paid[byKey])
	if b.taken {
		for _, o := range b.owed {
			of[bySubject].give(o.id, o.n)
		}
	}
	b.paid, b.taken = [kinds]int{}, false
}

// merge makes one of what a subject owes in several places.
func (b *Batch) merge() {
	slices.SortFunc(b.owed, func(x, y owed) int { return cmp.Compare(x.id, y.id) })
	merged := b.owed[:0]
	for _, o := range b.owed {
		if last := len(merged) - 1; last >= 0 && merged[last].id == o.id {
			merged[last].n += o.n
			continue
		}
		merged = append(merged, o)
	}
	b.owed = merged
}

// takeSubjects takes what every subject owes, or nothing and tells when all of it can be taken.
func (b *Batch) takeSubjects() (wait time.Duration) {
	t, now := b.c.q.events.tables[bySubject], int64(b.c.q.now())
	for i, o := range b.owed {
		if t.take(o.id, o.n, now) == 0 {
			continue
		}
		for _, back := range b.owed[:i] {
			t.give(back.id, back.n)
		}
		for _, all := range b.owed {
			wait = max(wait, t.look(all.id, all.n, now))
		}
		return wait
	}
	b.taken = true
	return 0
}

// pay takes n tokens of the address and of the key in place of what was paid.
func (b *Batch) pay(n int) *httpx.Problem {
	now := int64(b.c.q.now())
	for kind, id := range [kinds]uint64{byAddress: b.c.address, byKey: b.c.key} {
		if by(kind) == bySubject {
			continue
		}
		if wait := b.c.q.events.tables[kind].retake(id, b.paid[kind], n, now); wait > 0 {
			return b.refuse(&b.c.q.events, by(kind), wait, n)
		}
		b.paid[kind] = n
	}
	return nil
}

// refuse gives everything back, fines the address for the n events, and tells when they can be sent again.
func (b *Batch) refuse(of *quota, kind by, wait time.Duration, n int) *httpx.Problem {
	b.Return()
	address, now := b.c.q.events.tables[byAddress], int64(b.c.q.now())
	address.fine(b.c.address, max(1, n/fineShare), now)
	return of.refuse(kind, max(wait, address.look(b.c.address, n, now)))
}
