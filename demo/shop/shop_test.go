package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestDataIsWhole(t *testing.T) {
	items, err := Items()
	if err != nil {
		t.Fatal(err)
	}
	seen, categories := make(map[string]bool), make(map[string]bool)
	for _, item := range items {
		if seen[item.ID] || item.Title == "" || item.Price == "" || item.Category == "" {
			t.Errorf("item %+v", item)
		}
		seen[item.ID] = true
		categories[item.Category+"/"+item.Subcategory] = true
	}
	if len(items) < 2000 || len(categories) < 12 {
		t.Errorf("%d items in %d categories", len(items), len(categories))
	}
	customers, orders := make(map[int]bool), 0
	var before time.Time
	err = EachOrder(func(o *Order) error {
		customers[o.Customer] = true
		if orders++; orders > 1 && o.Time.After(before) {
			return errors.New("the newest order must come first")
		}
		before = o.Time
		for _, l := range o.Lines {
			if l.Item < 0 || l.Item >= len(items) || l.Quantity < 1 {
				return fmt.Errorf("order line %+v", l)
			}
		}
		return nil
	})
	if err != nil || orders < 18_000 || len(customers) < 4_000 {
		t.Errorf("%d orders of %d customers: %v", orders, len(customers), err)
	}
}

// TestPastEndsNow: the newest order was within a day, at its own time of day, and none is older than a year.
func TestPastEndsNow(t *testing.T) {
	until := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	p, err := NewPast(Options{}, until)
	if err != nil {
		t.Fatal(err)
	}
	var newest, oldest time.Time
	rows := 0
	if err := p.each(func(row int, o *Order) error {
		if rows++; row != rows {
			return fmt.Errorf("row %d is numbered %d", rows, row)
		}
		if row == 1 {
			newest = o.Time
		}
		oldest = o.Time
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if newest.After(until) || until.Sub(newest) > aDay || until.Sub(oldest) > keptFor || until.Sub(oldest) < 300*aDay || rows != p.Orders() {
		t.Errorf("%d of %d orders from %v to %v", rows, p.Orders(), oldest, newest)
	}
}

// TestPastGoesOn: the past is sent with consent first, waits for its rows to be settled, and one that was broken off sends the same rows of the same run.
func TestPastGoesOn(t *testing.T) {
	var mu sync.Mutex // guards what follows
	allowed, runs, rows := make(map[string]bool), make(map[string]bool), make(map[uint64]string)
	settled, posted, ahead := 0, 0, 0 // rows settled, posted in this start, and most that waited
	busy := true
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		lines := json.NewDecoder(r.Body)
		switch {
		case r.URL.Path == "/v1/policy":
			_, _ = io.WriteString(w, `{"version":"1"}`)
		case r.URL.Path == "/v1/imports":
			for lines.More() {
				var person struct{ Subject string }
				_ = lines.Decode(&person)
				allowed[person.Subject] = true
			}
		case r.Method == http.MethodGet:
			fmt.Fprintf(w, `{"accepted":%d,"duplicate":%d}`, len(rows), settled-len(rows))
			if settled = min(settled+batchOrders/2, posted); posted%2000 > batchOrders { // else half a batch until it is asked again
				settled = posted
			}
		case busy && len(rows) > 1000:
			busy = false
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			runs[r.URL.Path] = true
			n := 0
			for lines.More() {
				var row struct {
					Row   uint64
					Event struct {
						UserID string    `json:"user_id"`
						Time   time.Time `json:"time"`
					}
				}
				_ = lines.Decode(&row)
				text := row.Event.UserID + row.Event.Time.String()
				if before, ok := rows[row.Row]; ok && before != text || !allowed["u:"+row.Event.UserID] {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				rows[row.Row] = text
				n++
			}
			ahead = max(ahead, posted-settled)
			posted += n
			fmt.Fprintf(w, `{"accepted":%d}`, n)
		}
	}))
	defer api.Close()
	past := func() *Past {
		p, err := NewPast(Options{BaseURL: api.URL, Logger: slog.New(slog.DiscardHandler)}, time.Unix(1_790_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := past().Run(t.Context()); err == nil {
		t.Fatal("the past does not say that it was broken off")
	}
	p := past()
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rows) != p.Orders() || p.Replayed() != p.Orders() || len(runs) != 1 || settled < p.Orders() || ahead > batchOrders {
		t.Errorf("%d rows of %d, %d told, in %d runs; %d settled, %d waited", len(rows), p.Orders(), p.Replayed(), len(runs), settled, ahead)
	}
}

func TestSomeShoppersOptOut(t *testing.T) {
	s, err := NewShoppers(Options{N: 100})
	if err != nil {
		t.Fatal(err)
	}
	out, none := 0, 0
	for i := range s.N() {
		if isOptedOut(i) {
			out++
		}
		if declines(i) {
			none++
		}
	}
	if out == 0 || none == 0 || out+none > 50 {
		t.Errorf("%d opt out, %d decline", out, none)
	}
}

// TestShoppersHaveTastes: most of what a shopper picks is of three kinds, and shoppers differ.
func TestShoppersHaveTastes(t *testing.T) {
	s, err := NewShoppers(Options{N: 20})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a simulation
	first := make(map[string]bool)
	for i, taste := range s.tastes {
		suits := 0
		for range 200 {
			if taste.suits(&s.items[s.shelves.pick(taste, random)]) {
				suits++
			}
		}
		if suits < 140 {
			t.Errorf("shopper %d: %d of 200 picks suit", i, suits)
		}
		first[taste[0]] = true
	}
	if len(first) < 8 {
		t.Errorf("%d favourites among 20 shoppers", len(first))
	}
}

// TestShoppersAreCountedOnce: the workers share the shoppers, and one who has opted out has done so for all of them.
func TestShoppersAreCountedOnce(t *testing.T) {
	denials := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			denials++
			if denials == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer api.Close()
	s, err := NewShoppers(Options{N: 10, BaseURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	for worker := range uint64(4) {
		random := rand.New(rand.NewPCG(1, worker)) //nolint:gosec // a simulation
		if err := s.act(t.Context(), 8, random); (err != nil) != (worker == 0) {
			t.Errorf("worker %d: %v", worker, err)
		}
	}
	if denials != 2 || s.OptedOut() != 1 {
		t.Errorf("%d denials were sent, the first in vain, and %d shoppers counted", denials, s.OptedOut())
	}
}

// TestLoadInsists: a server that is busy for a moment is asked again, and one that refuses is not.
func TestLoadInsists(t *testing.T) {
	var answers []int
	asked := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(answers[min(asked, len(answers)-1)])
		asked++
	}))
	defer api.Close()
	answers = []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusAccepted}
	if err := Load(t.Context(), api.URL, "key", nil); err != nil || asked < len(answers) {
		t.Errorf("asked %d times: %v", asked, err)
	}
	answers, asked = []int{http.StatusUnauthorized}, 0
	if err := Load(t.Context(), api.URL, "key", nil); err == nil || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// TestCheatsAreHeldUpAndGoOn: a server that is busy, or breaks a connection off, is asked again, with the same event.
func TestCheatsAreHeldUpAndGoOn(t *testing.T) {
	var bodies []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch bodies = append(bodies, string(body)); len(bodies) {
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.WriteString(w, `{"outcome":"block"}`)
		}
	}))
	defer api.Close()
	s, err := NewShoppers(Options{N: 1, BaseURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := s.pay(t.Context(), payment{id: "p", user: "u", card: "c", value: "1.00"})
	if err != nil || outcome != "block" || len(bodies) != 4 || bodies[0] != bodies[3] {
		t.Errorf("%q after %d requests: %v", outcome, len(bodies), err)
	}
}

// TestShoppersHaveOnePast: a second start sends the past of new shoppers alone, and knows who has opted out.
func TestShoppersHaveOnePast(t *testing.T) {
	var ids []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for lines := json.NewDecoder(r.Body); r.URL.Path == "/v1/events" && lines.More(); {
			var event struct{ ID string }
			_ = lines.Decode(&event)
			ids = append(ids, event.ID)
		}
		_, _ = io.WriteString(w, `{"purposes":{"personalize":{"choice":"deny"}}}`)
	}))
	defer api.Close()
	marked := 0
	start := func(n, visited int) *Shoppers {
		t.Helper()
		ids = nil
		s, err := NewShoppers(Options{N: n, BaseURL: api.URL, Until: time.Unix(1_790_000_000, 0), Visited: visited, Sent: func(n int) error { marked = n; return nil }})
		if err == nil {
			err = s.past(t.Context())
		}
		if err == nil {
			err = s.recall(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start(10, 0)
	first := ids
	if len(first) != 10*pastVisits*pastViews || marked != 10 || s.OptedOut() != 1 {
		t.Errorf("%d events, %d marked, %d opted out", len(first), marked, s.OptedOut())
	}
	if start(10, 0); !slices.Equal(ids, first) { // broken off before it was marked
		t.Error("the same past is sent with other ids")
	}
	if start(12, 10); len(ids) != 2*pastVisits*pastViews || marked != 12 {
		t.Errorf("%d events of two new shoppers, %d marked", len(ids), marked)
	}
	if start(5, 12); len(ids) != 0 || marked != 12 {
		t.Errorf("%d events of known shoppers, %d marked", len(ids), marked)
	}
}
