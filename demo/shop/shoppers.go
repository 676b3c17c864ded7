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
	Logger    *slog.Logger
}

// Shoppers are simulated people with tastes drawn from real baskets. Their ids begin with "sim-".
type Shoppers struct {
	o        Options
	api      *client
	items    []Item
	baskets  [][]int // by shopper: what one real customer bought
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
	orders, err := Orders()
	if err != nil {
		return nil, err
	}
	s := &Shoppers{o: o, api: newClient(o.BaseURL, o.ServerKey, o.Transport), items: items, baskets: make([][]int, o.N), out: make([]atomic.Bool, o.N)}
	if o.N == 0 {
		return s, nil
	}
	for _, order := range orders {
		shopper := order.Customer % o.N
		if order.Customer >= o.N {
			continue
		}
		for _, l := range order.Lines {
			s.baskets[shopper] = append(s.baskets[shopper], l.Item)
		}
	}
	for i := range s.baskets {
		if len(s.baskets[i]) == 0 {
			s.baskets[i] = []int{i % len(items), (i * 7) % len(items), (i * 13) % len(items)}
		}
	}
	return s, nil
}

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
		if err := api.lines(ctx, "/v1/items", batch); err != nil {
			return fmt.Errorf("loading the demo catalogue: %w", err)
		}
	}
	return nil
}

// Run lets the shoppers in: first a burst of what they did in the past days, then they browse until ctx ends, together N/10 events a second.
func (s *Shoppers) Run(ctx context.Context) error {
	if s.o.N == 0 {
		return nil
	}
	var policy struct{ Version string }
	if err := s.api.insist(ctx, http.MethodGet, "/v1/policy", "application/json", nil, &policy); err != nil {
		return s.end(ctx, fmt.Errorf("asking for the policy: %w", err))
	}
	s.version = policy.Version
	if err := s.past(ctx); err != nil {
		return s.end(ctx, fmt.Errorf("sending the shoppers' past: %w", err))
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

// past imports the shoppers' acceptance and sends views and purchases of the past three days, so that lists are filled from the start.
func (s *Shoppers) past(ctx context.Context) error {
	var imports, events []any
	now := time.Now()
	for shopper := range s.o.N {
		if declines(shopper) {
			continue
		}
		imports = append(imports, map[string]any{
			"subject": "u:" + s.id(shopper), "policy_version": s.version, "jurisdiction": "CN", "grants": []string{"personalize"},
		})
		random := rand.New(rand.NewPCG(s.o.Seed, uint64(shopper))) //nolint:gosec // a simulation
		at := now.Add(-time.Duration(random.IntN(72*60)) * time.Minute)
		basket := s.baskets[shopper]
		for k := range min(12, len(basket)) {
			at = at.Add(time.Duration(20+random.IntN(90)) * time.Second)
			if at.After(now) {
				break
			}
			kind := "view_item"
			if k%4 == 3 {
				kind = "add_to_cart"
			}
			events = append(events, s.event(shopper, kind, basket[random.IntN(len(basket))], at, fmt.Sprintf("past-%d", k)))
		}
	}
	if err := s.api.lines(ctx, "/v1/imports", imports); err != nil {
		return err
	}
	for from := 0; from < len(events); from += 500 {
		if err := s.api.lines(ctx, "/v1/events", events[from:min(from+500, len(events))]); err != nil {
			return err
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
	item := s.baskets[shopper][random.IntN(len(s.baskets[shopper]))]
	if len(answer.Items) > 0 && random.IntN(2) == 0 {
		if i, ok := s.find(answer.Items[random.IntN(len(answer.Items))].ItemID); ok {
			item = i
		}
	}
	kind := [...]string{"view_item", "view_item", "view_item", "view_item", "select_item", "add_to_cart", "purchase"}[random.IntN(7)]
	id := fmt.Sprintf("live-%d-%d", time.Now().UnixNano(), s.events.Add(1))
	return s.api.json(ctx, http.MethodPost, "/v1/events", s.event(shopper, kind, item, time.Now(), id), nil)
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

func (s *Shoppers) find(id string) (int, bool) {
	for i := range s.items {
		if s.items[i].ID == id {
			return i, true
		}
	}
	return 0, false
}
