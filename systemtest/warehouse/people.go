package warehouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

const (
	people    = 500 // who have accepted the policy and allow recommendations
	regretful = 20  // of whom so many delete one footprint, as many their history, and as many switch personalization off
	post      = 20  // events of one request
)

func person(n int) string { return fmt.Sprintf("person-%04d", n) }

// introduce imports everybody's acceptance.
func (s *system) introduce(ctx context.Context) error {
	policy, err := s.api.Policy(ctx)
	if err != nil {
		return err
	}
	var body []byte
	for n := range people {
		body = fmt.Appendf(body, `{"subject":"u:%s","policy_version":%q,"jurisdiction":"CN","grants":["personalize"]}`+"\n", person(n), policy)
	}
	return s.api.Call(ctx, http.MethodPost, "/v1/imports", body, nil)
}

// load sends events at a steady rate until it is stopped.
type load struct {
	api    *client.Client
	random *rand.Rand
	cancel context.CancelFunc
	ended  chan error

	sent     int // acknowledged
	accepted int // of which some purpose may use; both are read once it has ended
}

// startLoad starts sending. If it fails, the context that is returned ends, too.
func startLoad(ctx context.Context, o *Command, s *system) (*load, context.Context) {
	l := &load{api: s.api, random: rand.New(rand.NewPCG(o.Seed, 1)), ended: make(chan error, 1)}
	ctx, l.cancel = context.WithCancel(ctx)
	go func() {
		defer l.cancel()
		l.ended <- l.run(ctx, time.Second*post/time.Duration(o.Rate))
	}()
	return l, ctx
}

// stop ends the load and returns how many events were accepted.
func (l *load) stop() (int, error) {
	l.cancel()
	err := <-l.ended
	return l.accepted, err
}

func (l *load) run(ctx context.Context, every time.Duration) error {
	for due := time.Now(); run.Sleep(ctx, time.Until(due)); due = due.Add(every) {
		body := make([]byte, 0, 8<<10)
		for i := range post {
			body = l.appendEvent(body, l.sent+i, time.Now())
		}
		if err := l.send(context.WithoutCancel(ctx), body); err != nil {
			return fmt.Errorf("sending events: %w", err)
		}
		l.sent += post
	}
	return nil
}

// tries bounds how often a request is sent that a busy machine did not answer in time: its events are the same each time.
const tries = 5

func (l *load) send(ctx context.Context, body []byte) (err error) {
	for range tries {
		var answer struct{ Accepted, Duplicate, Denied, Rejected int }
		if err = l.api.Call(ctx, http.MethodPost, "/v1/events", body, &answer); err == nil {
			if answer.Rejected > 0 {
				return fmt.Errorf("of %d events %d were rejected", post, answer.Rejected)
			}
			l.accepted += answer.Accepted + answer.Duplicate // denied: what only recommendations may use, of people who switched them off
			return nil
		}
		run.Sleep(ctx, time.Second)
	}
	return err
}

// types and how often they come, in percent.
var types = []struct {
	name  string
	share int
}{{"view_item_list", 15}, {"view_item", 35}, {"select_item", 10}, {"search", 10}, {"add_to_cart", 10}, {"purchase", 5}, {"login", 5}, {"payment", 10}}

func (l *load) draw() string {
	n := l.random.IntN(100)
	for _, t := range types {
		if n -= t.share; n < 0 {
			return t.name
		}
	}
	return types[0].name
}

// appendEvent makes an event, with what its type must have and some of what it may.
func (l *load) appendEvent(buf []byte, n int, now time.Time) []byte {
	who, what, at := person(l.random.IntN(people)), l.draw(), now.UTC().Format(time.RFC3339Nano)
	buf = fmt.Appendf(buf, `{"id":"e-%08d","type":%q,"time":%q,"sent_at":%q,"user_id":%q,"session_id":"s-%s","channel":"web","locale":"zh-CN","device":{"id":"d-%s","os":"Android 16"}`,
		n, what, at, at, who, who, who)
	switch what {
	case "view_item_list":
		buf = fmt.Appendf(buf, `,"surface":"home","recommendation_id":"r-%08d","items":[%s,%s,%s,%s]`, n, l.item(0), l.item(1), l.item(2), l.item(3))
	case "search":
		buf = fmt.Appendf(buf, `,"search_term":"灯 %d"`, l.random.IntN(1000))
	case "purchase":
		buf = fmt.Appendf(buf, `,"order":{"order_id":"o-%08d","value":"25.90","currency":"CNY"},"items":[%s]`, n, l.item(0))
	case "payment":
		buf = fmt.Appendf(buf, `,"order":{"order_id":"o-%08d","value":"%d.95","currency":"CNY","payment_instrument":"card-%s"},"counterparty":{"id":"seller-%d","kind":"seller"},"network":{"ip":"203.0.113.%d"}`,
			n, l.random.IntN(300), who, l.random.IntN(50), l.random.IntN(256))
	case "login":
		buf = append(buf, `,"account":{"email":"someone@example.com"}`...)
	default:
		buf = fmt.Appendf(buf, `,"surface":"item","items":[%s]`, l.item(0))
	}
	return append(buf, "}\n"...)
}

func (l *load) item(index int) string {
	return fmt.Sprintf(`{"item_id":"item-%04d","index":%d,"quantity":%d,"price":"12.95"}`, l.random.IntN(2000), index, 1+l.random.IntN(3))
}

// regret lets some people delete what they did; it returns how many acts that were.
func (s *system) regret(ctx context.Context) (acts int, err error) {
	for n := range regretful {
		for _, act := range []func(context.Context, string) error{s.deleteFootprint, s.deleteHistory, s.optOut} {
			if err := act(ctx, "/v1/users/"+person(acts)); err != nil {
				return acts, fmt.Errorf("act %d of person %d: %w", n, acts, err)
			}
			acts++
		}
	}
	return acts, nil
}

func (s *system) deleteFootprint(ctx context.Context, who string) error {
	var page struct {
		Items []struct {
			ID string `json:"event_id"`
		}
	}
	if err := s.api.Call(ctx, http.MethodGet, who+"/history", nil, &page); err != nil {
		return err
	}
	if len(page.Items) == 0 {
		return errors.New("there must be a footprint")
	}
	return s.api.Call(ctx, http.MethodDelete, who+"/history/"+page.Items[len(page.Items)-1].ID, nil, nil)
}

func (s *system) deleteHistory(ctx context.Context, who string) error {
	return s.api.Call(ctx, http.MethodDelete, who+"/history", nil, nil)
}

func (s *system) optOut(ctx context.Context, who string) error {
	return s.api.Call(ctx, http.MethodPut, who+"/consent/personalize", []byte(`{"decision":"deny"}`), nil)
}
