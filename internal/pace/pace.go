// Package pace makes long work in the background give way, so that no request waits for it.
package pace

import (
	"context"
	"runtime"
	"time"

	"sluice/internal/admission"
)

const (
	slice       = time.Millisecond      // of work, after which a pacer rests
	share       = 4                     // a pacer's work takes one part in so many of a core
	longestRest = 20 * time.Millisecond // after a slice that took long: it may have waited for a disk or for the processor, which is no work
)

// Rest is how long work in the background rests after it has worked for so long.
func Rest(worked time.Duration) time.Duration { return min((share-1)*worked, longestRest) }

// Pacer gives one goroutine's work a quarter of a core, in slices of about a millisecond, as long as the work is not urgent. The work consists of pieces much
// shorter than a slice, and calls Yield between them. Urgent work may have a nil Pacer.
//
//	work ──Yield, within the slice──▶ work
//	work ──Yield, the slice is over──▶ rest, three times as long ──▶ work
//	urgent work ──Yield, the slice is over──▶ its turn in the lane, if it has one ──▶ work
type Pacer struct {
	urgent func() bool
	lane   *admission.Lane
	now    func() time.Time
	sleep  func(time.Duration)
	began  time.Time // the slice
}

// New makes a pacer. It asks urgent once a slice; nil = never.
func New(urgent func() bool) *Pacer {
	if urgent == nil {
		urgent = func() bool { return false }
	}
	return newPacer(urgent, time.Now, time.Sleep)
}

func newPacer(urgent func() bool, now func() time.Time, sleep func(time.Duration)) *Pacer {
	return &Pacer{urgent: urgent, now: now, sleep: sleep, began: now()}
}

// Behind makes urgent work wait for its turn in the lane between two slices. While it works it takes no room there, since it may wait for a disk or for other work.
func (p *Pacer) Behind(lane *admission.Lane) *Pacer {
	p.lane = lane
	return p
}

// Yield rests if the slice is over. Urgent work only lets others have the processor if they wait for it.
func (p *Pacer) Yield() {
	if p == nil {
		runtime.Gosched()
		return
	}
	worked := p.now().Sub(p.began)
	if worked < slice {
		return
	}
	if p.urgent() {
		p.lane.Pass()
	} else {
		p.sleep(Rest(worked))
	}
	p.began = p.now()
}

type key struct{}

// With gives the work under a context its pacer.
func With(ctx context.Context, p *Pacer) context.Context { return context.WithValue(ctx, key{}, p) }

// From is the pacer of the work under a context, nil if it has none.
func From(ctx context.Context) *Pacer {
	p, _ := ctx.Value(key{}).(*Pacer)
	return p
}
