package optout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// crowd are the visitors, and those who ask for their rankings.
type crowd struct {
	o       *Command
	s       *system
	w       *witness
	policy  string
	running sync.WaitGroup
	names   atomic.Int64
}

func newCrowd(o *Command, s *system, w *witness, policy string) *crowd {
	return &crowd{o: o, s: s, w: w, policy: policy}
}

// start lets the visitors toggle until ctx ends.
func (c *crowd) start(ctx context.Context) {
	for i := range c.o.Visitors {
		random := rand.New(rand.NewPCG(c.o.Seed, uint64(i))) //nolint:gosec // reproducible visitors
		c.running.Go(func() {
			for ctx.Err() == nil {
				c.live(ctx, random)
			}
		})
	}
}

// wait returns when nobody asks any more.
func (c *crowd) wait() { c.running.Wait() }

// visitor is one who toggles. Only live changes it, but for the answers.
type visitor struct {
	*crowd
	name     string
	random   *rand.Rand
	asks     []byte                 // body of a request for a ranking
	choice   atomic.Pointer[choice] // what is known of the present one
	personal chan struct{}          // holds something if a personal answer came since it was emptied
	waiting  []atomic.Int64         // requests under way, by ranker
}

// choice is what a visitor's answers are judged by. Each write makes a new one.
type choice struct {
	denied time.Time // when "deny" was acknowledged; zero while it is not, from just before "allow" is sent
}

// live is one visitor, from the acceptance of the policy until ctx ends or a choice's outcome is not known: a lost one may still take effect, later,
// and nothing could be said about what comes after it.
func (c *crowd) live(ctx context.Context, random *rand.Rand) {
	v := &visitor{crowd: c, name: fmt.Sprintf("v-%d", c.names.Add(1)), random: random, personal: make(chan struct{}, 1), waiting: make([]atomic.Int64, len(c.s.rankers))}
	v.asks = fmt.Appendf(nil, `{"surface":"home","anonymous_id":%q,"limit":10}`, v.name)
	v.choice.Store(new(choice))
	revision, err := v.write(ctx, "/policy", fmt.Appendf(nil, `{"version":%q,"accepted":true,"jurisdiction":"CN"}`, c.policy))
	if err != nil {
		run.Sleep(ctx, time.Second)
		return
	}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	for i := range c.s.rankers {
		random := rand.New(rand.NewPCG(random.Uint64(), uint64(i))) //nolint:gosec // as above
		c.running.Go(func() { v.keepAsking(asking, random, i) })
	}
	for n := 0; ctx.Err() == nil; n++ {
		seen := v.browse(ctx, n, revision)
		if revision, err = v.toggle(ctx, seen); err != nil {
			return
		}
	}
}

// toggle switches personalization off, waits a little, and switches it on again. The error is that a choice's outcome is not known.
func (v *visitor) toggle(ctx context.Context, seen bool) (revision string, err error) {
	run.Sleep(ctx, between(v.random, 0, 200*time.Millisecond))
	if err := v.deny(ctx, seen); err != nil {
		return "", err
	}
	away := between(v.random, 0, 300*time.Millisecond)
	if v.random.IntN(8) == 0 {
		away = between(v.random, time.Second, 4*time.Second) // so that what a stopped ranker had ready comes while it is forbidden
	}
	run.Sleep(ctx, away)
	v.choice.Store(new(choice))
	if revision, err = v.write(ctx, "/consent/personalize", []byte(`{"decision":"allow"}`)); err != nil {
		return "", err
	}
	v.w.toggles.Add(1)
	return revision, nil
}

func between(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)))
}

// deny switches personalization off, and asks every ranker as soon as that is acknowledged.
func (v *visitor) deny(ctx context.Context, seen bool) error {
	for {
		fault, began := v.w.fault.Load(), time.Now()
		_, err := v.write(ctx, "/consent/personalize", []byte(`{"decision":"deny"}`))
		if err == nil {
			now := time.Now()
			v.choice.Store(&choice{denied: now})
			v.w.denied(now.Sub(began), fault, seen)
			v.askAll(ctx)
			return nil
		}
		if !run.Sleep(ctx, 100*time.Millisecond) {
			return err
		}
	}
}

// browse looks at an item under the newest choice, and waits until a ranking is personal; it tells whether one was.
func (v *visitor) browse(ctx context.Context, n int, revision string) (seen bool) {
	now := time.Now()
	stamp := now.UTC().Format(time.RFC3339Nano)
	event := fmt.Appendf(nil, `{"id":"%s-%d","type":"view_item","time":%q,"sent_at":%q,"anonymous_id":%q,"channel":"web","items":[{"item_id":"item-%d"}],"consent":{"revision":%q}}`+"\n",
		v.name, n, stamp, stamp, v.name, v.random.IntN(100), revision)
	if err := v.collector().Call(ctx, http.MethodPost, "/v1/events", event, nil); err != nil {
		return false
	}
	select { // what came before this event tells nothing
	case <-v.personal:
	default:
	}
	const most = 5 * time.Second
	for waited := time.Duration(0); waited < most; waited = time.Since(now) {
		v.askAll(ctx)
		select {
		case <-v.personal:
			return true
		case <-ctx.Done():
			return false
		case <-time.After(max(40*time.Millisecond, waited/4)): // who waits long must not become the load
		}
	}
	return false
}

func (v *visitor) collector() *client.Client {
	return v.s.collectors[v.random.IntN(len(v.s.collectors))].api
}

// write makes a choice through any of the collectors.
func (v *visitor) write(ctx context.Context, path string, body []byte) (revision string, err error) {
	var written struct{ Revision string }
	err = v.collector().Call(ctx, http.MethodPut, "/v1/visitors/"+v.name+path, body, &written)
	if err != nil && ctx.Err() == nil {
		v.w.refused.Add(1)
	}
	return written.Revision, err
}

// keepAsking asks one ranker for the visitor again and again, at moments that have nothing to do with what the visitor does.
func (v *visitor) keepAsking(ctx context.Context, random *rand.Rand, ranker int) {
	mean := time.Second * time.Duration(v.o.Visitors*v.o.Rankers) / time.Duration(max(1, v.o.Requests))
	for run.Sleep(ctx, between(random, 0, 2*mean)) {
		v.ask(ranker)
	}
}

// mostWaiting bounds the requests for one visitor that one ranker has not answered.
const mostWaiting = 4

// askAll asks every ranker, and does not wait for them.
func (v *visitor) askAll(ctx context.Context) {
	for i := range v.s.rankers {
		if ctx.Err() == nil && v.waiting[i].Load() < mostWaiting {
			v.running.Go(func() { v.ask(i) })
		}
	}
}

// ask asks a ranker once, and lets the witness judge the answer. What has been asked is waited for, also when the run ends.
func (v *visitor) ask(ranker int) {
	v.waiting[ranker].Add(1)
	defer v.waiting[ranker].Add(-1)
	q := question{ranker: ranker, before: v.choice.Load(), sent: time.Now()}
	err := v.s.rankers[ranker].api.Call(context.Background(), http.MethodPost, "/v1/recommendations", v.asks, &q.answer)
	arrived := time.Now()
	if v.w.judge(&q, arrived, v.choice.Load(), err) {
		select {
		case v.personal <- struct{}{}:
		default:
		}
	}
}
