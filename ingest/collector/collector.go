// Package collector takes events in over HTTP: it decodes them, asks the gate, appends them to the log, and answers when they are durable.
// It also takes catalogue items and replays, and is the way to the log for the decisions API and for foreign producers' events.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest"
	"sluice/internal/admission"
	"sluice/internal/httpx"
	"sluice/internal/quota"
	"sluice/internal/stream"
)

// Runs tells how the filter has settled the rows of a replay's run.
type Runs interface {
	Settled(run uint64) (accepted, duplicate, denied, rejected int64)
}

// Log is where accepted events go. *ingest.Log is one.
type Log interface {
	Append(ctx context.Context, events []ingest.Accepted) error
	Newest(ev *ingest.Event, types uint64) int64 // time of the newest event of the types (bit n for number n) that was appended to the event's partition; 0: none was
}

var _ Log = (*ingest.Log)(nil)

// Backlog is how much of what was accepted waits to be settled. *stream.Backlog is one.
type Backlog interface {
	Take(n int) bool                               // counts n events that are about to be appended; false: the backlog is full
	TakeLater(ctx context.Context, n int) error    // waits until Take counts; its error is ctx's
	Open() bool                                    // whether there is room for something
	Reserve(n int) bool                            // keeps room for about n events; false: the backlog is full
	ReserveLater(ctx context.Context, n int) error // waits until Reserve keeps it; its error is ctx's
	Fill(kept, n int) bool                         // Take in the room that was kept; false: there are more events than that, and the backlog is full
	Release(n int)                                 // gives the room back
}

var _ Backlog = (*stream.Backlog)(nil)

// Lists are what the catalogue's items are listed on.
type Lists interface {
	Offer(id string, now int64) bool                             // whether those of this process may hold the item at a time (Unix microseconds)
	Obey(ctx context.Context, partition int32, next int64) error // waits until all lists obey the partition of the catalogue's topic up to the offset
}

// Options of a collector.
type Options struct {
	Config     *Config
	Log        Log
	Gate       ingest.Gate
	Backlog    Backlog         // nil: nothing is refused for it
	Door       *admission.Door // nil: everybody is let in at once
	Quotas     *quota.Quotas   // nil: nobody has one
	Cluster    stream.Cluster  // of the catalogue's topic
	Lists      Lists           // nil: nobody is waited for
	Runs       Runs
	Denied     func(word string) (purposes []string, exact bool)   // what a word of a denial denies; exact: it is a purpose, as it is written. nil: words are taken as they are
	Place      func(text, kind, id string) (place string, ok bool) // in the log, of a revision that the settings gave of a subject. nil: no revision counts
	Keeps      []Keeping                                           // of each purpose; of a type that none takes nothing expires
	Introduces func(ev *ingest.Event) bool                         // whether the event would be the first thing that is kept of its person. nil: no event is
	Registerer prometheus.Registerer                               // nil = no metrics
	Logger     *slog.Logger                                        // nil = none
	Now        func() time.Time                                    // nil = the wall clock: when an event was received
}

// Keeping is how long a purpose keeps events, and of which types.
type Keeping struct {
	Purpose string
	Duty    bool   // a legal duty, which no event can deny
	Types   uint64 // bit n for the type with the number n
	Kept    time.Duration
}

// takes tells whether an event may be for the purpose, as far as the event itself says.
func (k *Keeping) takes(ev *ingest.Event) bool {
	return k.Types>>(ev.Type&63)&1 != 0 && (k.Duty || !slices.Contains(ev.Consent.GetDenied(), k.Purpose))
}

// Collector takes events in. It is safe for concurrent use.
type Collector struct {
	o         Options
	keys      *httpx.Keys
	now       func() time.Time
	tokens    *Tokens
	budget    budget
	recent    *recent
	catalogue *kgo.Client
	posted    atomic.Bool // whether the catalogue is known to have ever had an item
	events    map[string]*stage
	items     *prometheus.CounterVec
	bytes     prometheus.Counter
	behind    prometheus.Counter
	warnings  *prometheus.CounterVec
	kept      [64]int64 // by event type: microseconds that the purpose keeps it that keeps it longest; 0: none takes it
}

// New makes a collector and opens its client of the catalogue. Register makes it answer.
func New(o Options) (*Collector, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Place == nil {
		o.Place = func(string, string, string) (string, bool) { return "", false }
	}
	c := &Collector{o: o, now: o.Now, tokens: NewTokens(o.Config, o.Now), recent: newRecent(o.Config.Remembered)}
	c.budget.left.Store(o.Config.InFlight)
	for t := range c.kept {
		for _, k := range o.Keeps {
			if k.Types>>t&1 != 0 {
				c.kept[t] = max(c.kept[t], k.Kept.Microseconds())
			}
		}
	}
	var err error
	if c.catalogue, err = o.Cluster.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(itemLinger)); err != nil {
		return nil, fmt.Errorf("opening the catalogue: %w", err)
	}
	c.instrument(o.Registerer)
	return c, nil
}

// Close releases the catalogue's client. Requests must have ended.
func (c *Collector) Close() { c.catalogue.Close() }

// The stages at which events are counted.
const (
	stageHTTP     = "http"
	stageReplay   = "replay"
	stageDecision = "decision"
	stageInbound  = "inbound"
)

// stage counts the outcomes of one way in.
type stage struct{ accepted, duplicate, denied, rejected prometheus.Counter }

func (c *Collector) instrument(reg prometheus.Registerer) {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_ingest_events_total", Help: "Events taken in over HTTP, by way (http, replay, decision) and outcome. Duplicates among the accepted are the filter's to find.",
	}, []string{"stage", "outcome"})
	c.events = make(map[string]*stage)
	for _, name := range []string{stageHTTP, stageReplay, stageDecision} {
		of := func(outcome string) prometheus.Counter { return events.WithLabelValues(name, outcome) }
		c.events[name] = &stage{of("accepted"), of("duplicate"), of("denied"), of("rejected")}
	}
	c.items = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_ingest_items_total", Help: "Catalogue items by outcome (accepted, rejected, deleted).",
	}, []string{"outcome"})
	c.bytes = prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_ingest_body_bytes_total", Help: "Bytes of request bodies, decompressed."})
	c.behind = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_ingest_behind_total", Help: "Requests with events that were refused since the backlog was full.",
	})
	c.warnings = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_ingest_warnings_total", Help: "What was set aside, corrected or read strictly of events that were not rejected, by way (http, replay, decision, inbound) and code.",
	}, []string{"stage", "code"})
	if reg == nil {
		return
	}
	reg.MustRegister(events, c.items, c.bytes, c.behind, c.warnings, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_ingest_in_flight_bytes", Help: "Memory that is reserved for bodies now.",
	}, func() float64 { return float64(c.o.Config.InFlight - c.budget.left.Load()) }))
}

// told counts warnings.
func (c *Collector) told(stage string, warnings []ingest.Warning) {
	for i := range warnings {
		c.warnings.WithLabelValues(stage, warnings[i].Code).Inc()
	}
}

// eventBytes is about the size of an event's JSON. It need not be right: what a body holds is counted when it is known.
const eventBytes = 400

// room is what a request keeps of the backlog until its events are known.
type room struct {
	c *Collector
	n int
}

// open tells whether events may be accepted now. It is asked before a body is kept and decoded, so that a refusal costs little.
func (c *Collector) open() *httpx.Problem {
	if c.o.Backlog == nil || c.o.Backlog.Open() {
		return nil
	}
	return c.fallenBehind()
}

// reserve keeps room for the events of a body that has been read. A slow sender keeps none meanwhile. The caller leaves the room when it is done.
func (c *Collector) reserve(body *body) (*room, *httpx.Problem) {
	r := &room{c: c}
	if c.o.Backlog == nil {
		return r, nil
	}
	n := roomOf(body)
	if !c.o.Backlog.Reserve(n) {
		return nil, c.fallenBehind()
	}
	r.n = n
	return r, nil
}

// roomWait is how long a replay's rows wait for room: until the next look at the log, or the one after it. An answer of 429 would make the sender wait for a second
// or more (Retry-After), and the backlog would run empty meanwhile.
const roomWait = 200 * time.Millisecond

// reserveLater is reserve for a replay.
func (c *Collector) reserveLater(ctx context.Context, body *body) (*room, *httpx.Problem) {
	r := &room{c: c}
	if c.o.Backlog == nil {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, roomWait)
	defer cancel()
	n := roomOf(body)
	if c.o.Backlog.ReserveLater(ctx, n) != nil {
		return nil, c.fallenBehind()
	}
	r.n = n
	return r, nil
}

// roomOf is about how many events a body holds.
func roomOf(body *body) int { return max(1, len(body.data)/eventBytes) }

// leave gives back what is still kept.
func (r *room) leave() {
	if r.n > 0 {
		r.c.o.Backlog.Release(r.n)
		r.n = 0
	}
}

// take counts the events that are about to be appended.
func (r *room) take(n int) *httpx.Problem {
	kept := r.n
	r.n = 0
	if r.c.o.Backlog == nil || r.c.o.Backlog.Fill(kept, n) {
		return nil
	}
	return r.c.fallenBehind()
}

func (c *Collector) fallenBehind() *httpx.Problem {
	c.behind.Inc()
	return httpx.NewProblem(http.StatusTooManyRequests, "behind", "Too many accepted events wait to be settled. Nothing was stored; send the same again in a moment.")
}

// enter waits for the request's turn to compute, no longer than a request may take.
func (c *Collector) enter(ctx context.Context) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Config.Timeout)
	defer cancel()
	return c.o.Door.Enter(ctx)
}

// append makes events durable.
func (c *Collector) append(ctx context.Context, events []ingest.Accepted) error {
	if err := c.o.Log.Append(ctx, events); err != nil {
		c.o.Logger.Error("could not append events to the log", "events", len(events), "error", err)
		return err
	}
	return nil
}

// appendNew makes those events durable that are not, and tells how many are duplicates. If another request is writing the same event, it waits for the outcome, but
// writes its own events first, so that two requests never wait for each other. An error means that some may be durable all the same.
func (c *Collector) appendNew(ctx context.Context, events []ingest.Accepted) (duplicates int, err error) {
	for len(events) > 0 {
		f := &flight{over: make(chan struct{})}
		p := c.part(f, events)
		duplicates += p.duplicates
		if len(p.mine) > 0 {
			err = c.append(ctx, p.mine)
		}
		c.recent.settle(f, p.owned, err == nil)
		if err != nil {
			return duplicates, err
		}
		if err := await(ctx, p.others); err != nil {
			return duplicates, err
		}
		events = p.theirs
	}
	return duplicates, nil
}

// parted are events, sorted by what to do with them.
type parted struct {
	mine       []ingest.Accepted // to be written now
	owned      []uint64          // their hashes
	theirs     []ingest.Accepted // being written by the other flights
	others     []*flight
	duplicates int
}

// part claims the events for a flight.
func (c *Collector) part(f *flight, events []ingest.Accepted) parted {
	hashes := make([]uint64, len(events))
	for i := range events {
		hashes[i] = c.recent.hash(events[i].Event)
	}
	p := parted{mine: make([]ingest.Accepted, 0, len(events)), owned: make([]uint64, 0, len(events))}
	for i, claim := range c.recent.claim(f, hashes) {
		switch {
		case claim.duplicate:
			p.duplicates++
		case claim.other != nil:
			p.theirs, p.others = append(p.theirs, events[i]), append(p.others, claim.other)
		default:
			p.mine, p.owned = append(p.mine, events[i]), append(p.owned, hashes[i])
		}
	}
	return p
}

func await(ctx context.Context, flights []*flight) error {
	for _, f := range flights {
		select {
		case <-f.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// errConsent is that the gate cannot tell now.
var errConsent = errors.New("consent is not known")

// admit asks the gate about events. denied is parallel to them.
func (c *Collector) admit(events []*ingest.Event) (denied []bool, err error) {
	denied = make([]bool, len(events))
	if err = c.o.Gate.Admit(events, denied); err != nil {
		return nil, errors.Join(errConsent, err)
	}
	return denied, nil
}

// admitOne asks the gate about one event.
func (c *Collector) admitOne(ev *ingest.Event) (denied bool, err error) {
	if denied, err = ingest.AdmitOne(c.o.Gate)(ev); err != nil {
		err = errors.Join(errConsent, err)
	}
	return denied, err
}

// unavailable is the problem of an error of the gate or the log.
func unavailable(err error) *httpx.Problem {
	if errors.Is(err, errConsent) {
		return httpx.NewProblem(http.StatusServiceUnavailable, "consent_unknown", "The present state of consent is not known here. Nothing was stored.")
	}
	if errors.Is(err, errUnobeyed) {
		return httpx.NewProblem(http.StatusServiceUnavailable, "not_yet_effective", "The change is recorded, and not all lists obey it yet. Send the same again.")
	}
	return httpx.NewProblem(http.StatusServiceUnavailable, "log_unavailable", "The log cannot be written now. Send the same again: what was stored already is deduplicated.")
}
