package shop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	batchOrders = 100
	aDay        = 24 * time.Hour
	// keptFor is how old an order of the past may be: what every purpose's retention has expired would be refused.
	keptFor = 360 * aDay
	// settleEvery is how often the replay asks whether its rows are settled.
	settleEvery = 20 * time.Millisecond
)

// Past is a year of real orders, which the shop replays as its own: people who had accepted the policy bought these things, the newest a day before Until at
// the most. It goes the way of every replay: consent is imported, then rows are posted, each of which counts once however often it is sent.
type Past struct {
	o        Options
	api      *client
	until    time.Time
	orders   int
	replayed atomic.Int64
}

// NewPast makes a past that ends at a time. The same time makes the same past, so one that was broken off can be gone on with.
func NewPast(o Options, until time.Time) (*Past, error) {
	p := &Past{o: o, api: newClient(o.BaseURL, o.ServerKey, o.Transport), until: until.UTC()}
	return p, p.each(func(int, *Order) error { p.orders++; return nil })
}

// Orders is how many orders there are, Replayed how many of them have been settled.
func (p *Past) Orders() int { return p.orders }

// Replayed is how many orders have been settled.
func (p *Past) Replayed() int { return int(p.replayed.Load()) }

// each gives the orders that are kept, with their dates moved, numbered from 1, the newest first.
func (p *Past) each(use func(row int, o *Order) error) error {
	var shift time.Duration
	row := 0
	err := EachOrder(func(o *Order) error {
		if row == 0 {
			shift = p.until.Sub(o.Time).Truncate(aDay) // whole days: the time of day stays
		}
		if o.Time = o.Time.Add(shift); p.until.Sub(o.Time) > keptFor {
			return errEnough
		}
		row++
		return use(row, o)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends the reading.
var errEnough = errors.New("enough")

// Run replays the past, the newest orders first, so that the lists of the present are full first. A batch is sent when the one before it is settled: shoppers
// and visitors do not wait behind the past.
func (p *Past) Run(ctx context.Context) error {
	items, err := Items()
	if err != nil {
		return err
	}
	version, err := p.api.policy(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	r := &replaying{p: p, items: items, version: version, seen: make(map[int]bool), run: fmt.Sprintf("%016x", p.until.UnixNano())}
	if r.before, err = r.settled(ctx); err != nil {
		return err
	}
	if err := p.each(func(row int, o *Order) error { return r.add(ctx, row, o) }); err != nil {
		return err
	}
	if err := r.send(ctx); err != nil {
		return err
	}
	if err := r.settle(ctx, r.accepted); err != nil {
		return err
	}
	p.replayed.Store(int64(p.orders))
	p.o.Logger.Info("the shop's past is replayed", "orders", p.orders, "people", len(r.seen), "after", time.Since(began).Round(time.Millisecond))
	return nil
}

// replaying is one run of a past.
type replaying struct {
	p        *Past
	items    []Item
	version  string
	run      string
	seen     map[int]bool // customers: add has imported their consent
	imports  []any
	rows     []any
	accepted int // rows, by this run of the program
	before   int // rows that were settled when it began
}

func (r *replaying) add(ctx context.Context, row int, o *Order) error {
	if !r.seen[o.Customer] {
		r.seen[o.Customer] = true
		r.imports = append(r.imports, acceptance(pastID(o.Customer), r.version))
	}
	r.rows = append(r.rows, map[string]any{"row": row, "event": r.purchase(row, o)})
	if len(r.rows) < batchOrders {
		return nil
	}
	return r.send(ctx)
}

// purchase is an order as an event.
func (r *replaying) purchase(row int, o *Order) map[string]any {
	id := "past-" + strconv.Itoa(row)
	lines := make([]map[string]any, len(o.Lines))
	for i, l := range o.Lines {
		item := &r.items[l.Item]
		lines[i] = map[string]any{"item_id": item.ID, "quantity": l.Quantity, "price": item.Price, "index": i}
	}
	return map[string]any{
		"id": id, "type": "purchase", "time": o.Time.Format(time.RFC3339), "user_id": pastID(o.Customer), "session_id": id, "channel": "web",
		"items": lines, "order": map[string]any{"order_id": id, "currency": "GBP"},
	}
}

// send posts what has gathered, consent first, once the batch before it is settled.
func (r *replaying) send(ctx context.Context) error {
	if err := r.settle(ctx, r.accepted); err != nil {
		return err
	}
	if len(r.imports) > 0 {
		if err := r.p.api.lines(ctx, "/v1/imports", r.imports, nil); err != nil {
			return fmt.Errorf("importing the consent of the past: %w", err)
		}
		r.imports = r.imports[:0]
	}
	if len(r.rows) == 0 {
		return nil
	}
	var answer struct{ Accepted int }
	if err := r.p.api.lines(ctx, "/v1/replays/"+r.run+"/events", r.rows, &answer); err != nil {
		return fmt.Errorf("replaying the past: %w", err)
	}
	r.accepted += answer.Accepted
	r.rows = r.rows[:0]
	return nil
}

// settled is how many rows of the past are settled, those that were sent twice counted twice.
func (r *replaying) settled(ctx context.Context) (int, error) {
	var run struct{ Accepted, Duplicate, Denied, Rejected int }
	if err := r.p.api.insist(ctx, http.MethodGet, "/v1/replays/"+r.run, "application/json", nil, &run); err != nil {
		return 0, fmt.Errorf("asking how the past is settled: %w", err)
	}
	return run.Accepted + run.Duplicate + run.Denied + run.Rejected, nil
}

// settle waits until so many rows are settled, beside those that were when the program started.
func (r *replaying) settle(ctx context.Context, rows int) error {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for {
		settled, err := r.settled(ctx)
		if err != nil {
			return err
		}
		settled -= r.before
		r.p.replayed.Store(int64(min(max(settled, r.before), r.p.orders)))
		if settled >= rows {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func pastID(customer int) string { return fmt.Sprintf("past-%04d", customer) }

// acceptance is the import of a person who had accepted the policy and allowed recommendations.
func acceptance(user, version string) map[string]any {
	return map[string]any{"subject": "u:" + user, "policy_version": version, "jurisdiction": jurisdiction, "grants": []string{"personalize"}}
}

// jurisdiction is where the shop's people live: where the built-in register says that its deployment is.
const jurisdiction = "CN"
