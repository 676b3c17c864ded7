package shop

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Options say where the simulated shoppers shop, and how many there are.
type Options struct {
	BaseURL   string
	ServerKey string
	Transport http.RoundTripper // nil: the default
	N         int
	Seed      uint64
	Until     time.Time                // when the shop's past ends: the shoppers' is of the weeks before. The same time makes the same past
	Visited   int                      // shoppers who have a past already: the first so many
	Sent      func(shoppers int) error // notes how many have one now; nil: nobody does
	Logger    *slog.Logger
}

// Shoppers are simulated people with tastes, and some who cheat. Their ids begin with "sim-".
type Shoppers struct {
	o        Options
	api      *client
	items    []Item
	shelves  *shelves
	tastes   []taste // by shopper
	version  string
	out      []atomic.Bool // by shopper: has switched personalization off
	optedOut atomic.Int64
	events   atomic.Int64
}

// NewShoppers makes N shoppers.
func NewShoppers(o Options) (*Shoppers, error) {
	items, err := Items()
	if err != nil {
		return nil, err
	}
	s := &Shoppers{
		o: o, api: newClient(o.BaseURL, o.ServerKey, o.Transport), items: items, shelves: newShelves(items), tastes: make([]taste, o.N), out: make([]atomic.Bool, o.N),
	}
	for i := range s.tastes {
		s.tastes[i] = s.shelves.tasteOf(rand.New(rand.NewPCG(tasteSeed, uint64(i)))) //nolint:gosec // a simulation
	}
	return s, nil
}

// tasteSeed: a shopper keeps the taste over restarts.
const tasteSeed = 20101201

// N is the number of shoppers, OptedOut how many of them have switched personalization off.
func (s *Shoppers) N() int { return s.o.N }

// OptedOut is how many shoppers have switched personalization off so far.
func (s *Shoppers) OptedOut() int { return int(s.optedOut.Load()) }

// Load puts the catalogue into the shop.
func Load(ctx context.Context, baseURL, serverKey string, transport http.RoundTripper) error {
	items, err := Items()
	if err != nil {
		return err
	}
	api := newClient(baseURL, serverKey, transport)
	start := time.Date(2010, 12, 1, 0, 0, 0, 0, time.UTC)
	for from := 0; from < len(items); from += 1000 {
		var batch []any
		for i, item := range items[from:min(from+1000, len(items))] {
			batch = append(batch, map[string]any{
				"item_id": item.ID, "title": item.Title, "categories": [][]string{{item.Category, item.Subcategory}},
				"price": item.Price, "currency": "GBP", "availability": "in_stock", "url": "/shop/items/" + item.ID,
				"available_from": start.Add(time.Duration(len(items)-from-i) * time.Minute),
			})
		}
		if err := api.lines(ctx, "/v1/items", batch, nil); err != nil {
			return fmt.Errorf("loading the demo catalogue: %w", err)
		}
	}
	return nil
}

// Run lets the shoppers in: first what they did in the past weeks, and what the cheats try; then they browse until ctx ends, together N/10 events a second.
func (s *Shoppers) Run(ctx context.Context) (err error) {
	if s.o.N == 0 {
		return nil
	}
	if s.version, err = s.api.policy(ctx); err != nil {
		return s.end(ctx, err)
	}
	if err := s.past(ctx); err != nil {
		return s.end(ctx, fmt.Errorf("sending the shoppers' past: %w", err))
	}
	if err := s.recall(ctx); err != nil {
		return s.end(ctx, fmt.Errorf("asking who has opted out: %w", err))
	}
	if err := s.cheat(ctx); err != nil {
		return s.end(ctx, fmt.Errorf("letting the cheats try: %w", err))
	}
	var wg sync.WaitGroup
	const workers = 4
	for w := range workers {
		wg.Go(func() { s.browse(ctx, w, workers) })
	}
	wg.Wait()
	return nil
}

func (s *Shoppers) end(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Shoppers) id(shopper int) string { return fmt.Sprintf("sim-%04d", shopper) }

// declines tells whether a shopper never accepts the policy, isOptedOut whether one switches personalization off.
func declines(shopper int) bool   { return shopper%17 == 16 }
func isOptedOut(shopper int) bool { return shopper%9 == 8 }

const (
	pastVisits = 3  // of a shopper before the demo began
	pastDays   = 14 // within which they were
	pastViews  = 5  // of a visit
)

// past imports the shoppers' acceptance and sends their visits of the past weeks, once: those who have a past get no other.
func (s *Shoppers) past(ctx context.Context) error {
	var imports, events []any
	for shopper := range s.o.N {
		if declines(shopper) {
			continue
		}
		imports = append(imports, acceptance(s.id(shopper), s.version))
		if shopper < s.o.Visited {
			continue
		}
		random := rand.New(rand.NewPCG(uint64(s.o.Until.UnixNano()), uint64(shopper))) //nolint:gosec // a simulation
		for visit := range pastVisits {
			at := s.o.Until.Add(-time.Hour - time.Duration(random.IntN(pastDays*24*60))*time.Minute)
			for k := range pastViews {
				kind := "view_item"
				if k == pastViews-1 {
					kind = "add_to_cart"
				}
				at = at.Add(time.Duration(20+random.IntN(90)) * time.Second)
				events = append(events, s.event(shopper, kind, s.shelves.pick(s.tastes[shopper], random), at, fmt.Sprintf("past-%d-%d-%d", s.o.Until.UnixNano(), visit, k)))
			}
		}
	}
	if err := s.api.lines(ctx, "/v1/imports", imports, nil); err != nil {
		return err
	}
	for from := 0; from < len(events); from += 500 {
		if err := s.api.lines(ctx, "/v1/events", events[from:min(from+500, len(events))], nil); err != nil {
			return err
		}
	}
	if s.o.Sent == nil {
		return nil
	}
	return s.o.Sent(max(s.o.Visited, s.o.N))
}

// recall reads who has switched personalization off at an earlier start.
func (s *Shoppers) recall(ctx context.Context) error {
	for shopper := range s.o.N {
		if !isOptedOut(shopper) || declines(shopper) {
			continue
		}
		var state struct {
			Purposes map[string]struct{ Choice string }
		}
		if err := s.api.insist(ctx, http.MethodGet, "/v1/users/"+s.id(shopper)+"/consent", "application/json", nil, &state); err != nil {
			return err
		}
		if state.Purposes["personalize"].Choice == "deny" && s.out[shopper].CompareAndSwap(false, true) {
			s.optedOut.Add(1)
		}
	}
	return nil
}

func (s *Shoppers) event(shopper int, kind string, item int, at time.Time, id string) map[string]any {
	e := map[string]any{
		"id": fmt.Sprintf("%s-%s", s.id(shopper), id), "type": kind, "time": at.UTC().Format(time.RFC3339Nano), "sent_at": time.Now().UTC().Format(time.RFC3339Nano),
		"user_id": s.id(shopper), "session_id": fmt.Sprintf("%s-%s", s.id(shopper), at.UTC().Format("20060102")), "channel": "web", "surface": "simulated",
		"items": []map[string]any{{"item_id": s.items[item].ID, "quantity": 1, "price": s.items[item].Price}},
	}
	if kind == "purchase" {
		e["order"] = map[string]any{"order_id": fmt.Sprintf("%s-%s", s.id(shopper), id), "value": s.items[item].Price, "currency": "GBP"}
	}
	return e
}

// browse is one worker's shoppers, each acting in turn.
func (s *Shoppers) browse(ctx context.Context, worker, workers int) {
	random := rand.New(rand.NewPCG(s.o.Seed+1, uint64(worker))) //nolint:gosec // a simulation
	perSecond := max(0.2, float64(s.o.N)/10/float64(workers))
	ticker := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		shopper := random.IntN(s.o.N)
		if declines(shopper) {
			continue
		}
		if err := s.act(ctx, shopper, random); err != nil && ctx.Err() == nil {
			s.o.Logger.Debug("a simulated shopper gave up", "error", err)
		}
	}
}

// act is one step of a shopper: look at recommendations, view one of them or something of their own taste, sometimes buy.
func (s *Shoppers) act(ctx context.Context, shopper int, random *rand.Rand) error {
	if err := s.optOut(ctx, shopper); err != nil {
		return err
	}
	var answer struct {
		Items []struct {
			ItemID string `json:"item_id"`
		}
	}
	ask := map[string]any{"surface": "home", "user_id": s.id(shopper), "limit": 12}
	if err := s.api.json(ctx, http.MethodPost, "/v1/recommendations", ask, &answer); err != nil {
		return err
	}
	item := s.shelves.pick(s.tastes[shopper], random)
	if random.IntN(2) == 0 {
		for _, listed := range answer.Items { // the first that is to the shopper's taste
			if i, ok := s.shelves.place[listed.ItemID]; ok && s.tastes[shopper].suits(&s.items[i]) {
				item = i
				break
			}
		}
	}
	kind := [...]string{"view_item", "view_item", "view_item", "view_item", "select_item", "add_to_cart", "purchase"}[random.IntN(7)]
	now := time.Now()
	id := fmt.Sprintf("live-%d-%d", now.UnixNano(), s.events.Add(1))
	if kind == "purchase" {
		outcome, err := s.pay(ctx, payment{user: s.id(shopper), card: "tok_" + s.id(shopper), value: s.items[item].Price, device: s.id(shopper), ip: homeOf(shopper), id: id + "-pay"})
		if err != nil || outcome != "allow" {
			return err
		}
	}
	return s.api.json(ctx, http.MethodPost, "/v1/events", s.event(shopper, kind, item, now, id), nil)
}

// optOut lets a shopper who wants to switch personalization off do so, once.
func (s *Shoppers) optOut(ctx context.Context, shopper int) error {
	if !isOptedOut(shopper) || !s.out[shopper].CompareAndSwap(false, true) {
		return nil
	}
	path := "/v1/users/" + s.id(shopper) + "/consent/personalize"
	if err := s.api.json(ctx, http.MethodPut, path, map[string]string{"decision": "deny"}, nil); err != nil {
		s.out[shopper].Store(false)
		return err
	}
	s.optedOut.Add(1)
	return nil
}
