// Package admission lets requests in. It bounds how many requests of a class are worked on at once, and decides who waits, in which order, and who is refused.
package admission

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Class is a kind of request. The lower one goes first.
type Class uint8

// The classes that compute. Settings and the lease on consent need no place: they hardly compute, and what they wait for is not the machine.
const (
	Decisions Class = iota
	Rankings
	Collection
	classes
)

var names = [classes]string{"decisions", "rankings", "collection"}

// Options of a controller.
type Options struct {
	Places     int                   // requests that compute at once; 0 = the number of cores
	Waiting    int                   // of each class, at most; 0 = 512
	Lane       *Lane                 // is narrow while a decision or a ranking computes or waits; nil = none
	Registerer prometheus.Registerer // nil = no metrics
	Now        func() time.Time      // nil = the wall clock
}

const defaultWaiting = 512

// Controller shares the machine among requests that compute. More of them than there are cores finish no sooner, and whatever else the process must do in
// time, such as keeping its lease on consent, would stand in line behind all of them. It is safe for concurrent use.
//
//	Enter ─▶ place free, nobody before it? ──────▶ in ──▶ leave ─▶ the first of the highest class that waits
//	           └▶ can it be in time, is there room? ─▶ waits ─┘
//	                └▶ refused
//
// Each class has one place of its own beside those that all share: a class that is stuck in all of these stops no other one.
type Controller struct {
	places, waiting int
	lane            *Lane
	now             func() time.Time
	refused         [classes]prometheus.Counter

	mu     sync.Mutex // guards the fields below
	shared int        // places of all that are taken
	queues [classes]queue
}

// queue is one class.
type queue struct {
	own     bool          // its own place is taken
	waiting []*waiter     // the first one goes first
	in      int           // how many are in
	mean    time.Duration // of a stay, newer ones weigh more
}

// waiter waits for a place.
type waiter struct {
	turn chan place // gets the place
}

// place is what a request holds: one of all, or its class's own.
type place struct {
	own   bool
	since time.Time
}

// New makes a controller.
func New(o Options) *Controller {
	if o.Places == 0 {
		o.Places = runtime.GOMAXPROCS(0)
	}
	if o.Waiting == 0 {
		o.Waiting = defaultWaiting
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Controller{places: o.Places, waiting: o.Waiting, lane: o.Lane, now: o.Now}
	c.instrument(o.Registerer)
	return c
}

func (c *Controller) instrument(reg prometheus.Registerer) {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_admission_refused_total", Help: "Requests that were refused since too many waited, or since they could not have been served in time, by class.",
	}, []string{"class"})
	in := prometheus.NewDesc("sluice_admission_in_flight", "Requests that compute now, by class.", []string{"class"}, nil)
	waiting := prometheus.NewDesc("sluice_admission_waiting", "Requests that wait for a place, by class.", []string{"class"}, nil)
	for class := range classes {
		c.refused[class] = refused.WithLabelValues(names[class])
	}
	if reg != nil {
		reg.MustRegister(refused, &gauges{c, in, waiting})
	}
}

// gauges are the counts of now.
type gauges struct {
	c           *Controller
	in, waiting *prometheus.Desc
}

// Describe names the gauges.
func (g *gauges) Describe(to chan<- *prometheus.Desc) { to <- g.in; to <- g.waiting }

// Collect reads them.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	for class, name := range names {
		q := &g.c.queues[class]
		to <- prometheus.MustNewConstMetric(g.in, prometheus.GaugeValue, float64(q.in), name)
		to <- prometheus.MustNewConstMetric(g.waiting, prometheus.GaugeValue, float64(len(q.waiting)), name)
	}
}

// Door is the way in for one class. A nil door lets everybody in.
type Door struct {
	c     *Controller
	class Class
}

// Door is the class's.
func (c *Controller) Door(class Class) *Door { return &Door{c, class} }

// Enter waits for a place until ctx's deadline. It refuses at once where too many wait, or where the place would come too late. Whoever is in calls leave once,
// and never waits for anything but the processor in between.
func (d *Door) Enter(ctx context.Context) (leave func(), ok bool) {
	if d == nil {
		return func() {}, true
	}
	arrived := d.hurry()
	p, w, ok := d.c.enter(ctx, d.class)
	if w != nil {
		p, ok = d.c.await(ctx, d.class, w)
	}
	if !ok {
		arrived()
		d.c.refused[d.class].Inc()
		return nil, false
	}
	return func() {
		d.c.leave(d.class, p)
		arrived()
	}, true
}

// hurry narrows the lane for all classes but the last, which only brings it more work.
func (d *Door) hurry() (arrived func()) {
	if d.class == Collection {
		return func() {}
	}
	return d.c.lane.Hurry()
}

// enter gives a place, or one to wait for, or neither: then the request is refused.
func (c *Controller) enter(ctx context.Context, class Class) (p place, w *waiter, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return p, nil, false
	}
	q := &c.queues[class]
	if len(q.waiting) == 0 {
		if p, ok = c.take(class); ok {
			return p, nil, true
		}
	}
	if deadline, ok := ctx.Deadline(); len(q.waiting) >= c.waiting || ok && c.now().Add(c.expected(class)).After(deadline) {
		return p, nil, false
	}
	w = &waiter{turn: make(chan place, 1)}
	q.waiting = append(q.waiting, w)
	return p, w, false
}

// take gives a free place, one of all rather than the class's own.
func (c *Controller) take(class Class) (place, bool) {
	q := &c.queues[class]
	switch {
	case c.shared < c.places:
		c.shared++
	case !q.own:
		q.own = true
		q.in++
		return place{own: true, since: c.now()}, true
	default:
		return place{}, false
	}
	q.in++
	return place{since: c.now()}, true
}

// expected is how long a request of the class would wait and stay: those before it share the places.
func (c *Controller) expected(class Class) time.Duration {
	var before time.Duration
	for higher := range class + 1 {
		q := &c.queues[higher]
		before += time.Duration(len(q.waiting)) * q.mean
	}
	return before/time.Duration(c.places) + c.queues[class].mean
}

// await waits for the place until ctx ends.
func (c *Controller) await(ctx context.Context, class Class, w *waiter) (place, bool) {
	select {
	case p := <-w.turn:
		return p, true
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case p := <-w.turn: // it came at the same time
		return p, true
	default:
	}
	q := &c.queues[class]
	q.waiting = slices.DeleteFunc(q.waiting, func(other *waiter) bool { return other == w })
	return place{}, false
}

// leave gives the place to the next one.
func (c *Controller) leave(class Class, p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.queues[class]
	q.in--
	const weight = 16 // of what was, against one new stay
	q.mean += (c.now().Sub(p.since) - q.mean) / weight
	if p.own {
		q.own = false
	} else {
		c.shared--
	}
	for next := range classes {
		c.let(next)
	}
}

// let gives free places to those of the class that wait.
func (c *Controller) let(class Class) {
	q := &c.queues[class]
	for len(q.waiting) > 0 {
		p, ok := c.take(class)
		if !ok {
			return
		}
		q.waiting[0].turn <- p
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
	}
}
