package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/systemtest/client"
	"sluice/systemtest/fleet"
	"sluice/systemtest/run"
)

// load sends events and asks for rankings at steady rates, whatever the answers: a request that is late is late from when it was due.
type load struct {
	o                   *Command
	collectors, rankers *client.Client
	recorder            *recorder
	ledger              *ledger
	policy              string

	stop      func() // ends the load and waits for what is under way
	next      atomic.Int64
	nextProbe atomic.Int64
	mu        sync.Mutex // guards failures, until the load has ended
	failures  map[string]int
}

// patience is how long a storefront waits for an answer. A permission may take as long as a dead filter is waited for.
const patience = 20 * time.Second

func newLoad(ctx context.Context, o *Command, s *system) (*load, error) {
	l := &load{
		o: o, collectors: client.New("http://collectors", s.collectors, patience), rankers: client.New("http://rankers", s.rankers, patience),
		recorder: new(recorder), ledger: newLedger(s.Ring), failures: make(map[string]int),
	}
	var err error
	if l.policy, err = l.collectors.Policy(ctx); err != nil {
		return nil, err
	}
	if err := l.introduce(ctx, s.first["collector"][0]); err != nil {
		return nil, err
	}
	settling, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	return l, l.collectors.Settle(settling)
}

// introduce imports the acceptance of everybody who will come, those who measure freshness included: else they would measure how long a choice takes, too.
func (l *load) introduce(ctx context.Context, through *fleet.Node) error {
	var subjects []string
	for n := range l.o.People {
		subjects = append(subjects, "u:"+person(n))
	}
	for n := range int64(l.o.Probes) * int64(l.o.longest().Seconds()) {
		subjects = append(subjects, "a:"+prober(n))
	}
	node := client.New(through.URL(), http.DefaultTransport, time.Minute) // an import waits until every node knows
	for batch := range slices.Chunk(subjects, 1000) {
		var body []byte
		for _, subject := range batch {
			body = fmt.Appendf(body, `{"subject":%q,"policy_version":%q,"jurisdiction":"CN","grants":["personalize"]}`+"\n", subject, l.policy)
		}
		if err := node.Call(ctx, http.MethodPost, "/v1/imports", body, nil); err != nil {
			return err
		}
	}
	return nil
}

func person(n int) string   { return fmt.Sprintf("person-%05d", n) }
func prober(n int64) string { return fmt.Sprintf("probe-%06d", n) }

// start starts the load.
func (l *load) start(ctx context.Context) {
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	l.stop = func() {
		cancel()
		running.Wait()
	}
	running.Go(func() { l.pace(ctx, 1, float64(l.o.Events)/meanPost, l.post) })
	running.Go(func() { l.pace(ctx, 2, float64(l.o.Requests), l.rank) })
	running.Go(func() { l.pace(ctx, 3, float64(l.o.Probes), l.probe) })
	running.Go(func() { l.pace(ctx, 4, float64(l.o.Choices), l.choose) })
}

// underWay bounds how many requests of one sort wait for their answers; when there are more, the next ones are sent late, and count as late.
const underWay = 2000

// task is one request, or one probe. It must not use random once it has returned; what it returns is run beside others.
type task func(random *rand.Rand, due time.Time) func(ctx context.Context)

// pace runs tasks at a rate until ctx ends, then waits for those under way.
func (l *load) pace(ctx context.Context, stream uint64, rate float64, make task) {
	if rate <= 0 {
		return
	}
	random := rand.New(rand.NewPCG(l.o.Seed, stream)) //nolint:gosec // a reproducible load
	slots, began := newSlots(underWay), time.Now()
	var running sync.WaitGroup
	defer running.Wait()
	for i := 0; ; i++ {
		due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if !run.Sleep(ctx, time.Until(due)) || !slots.take(ctx) {
			return
		}
		do := make(random, due)
		running.Go(func() {
			defer slots.give()
			do(context.WithoutCancel(ctx)) // what has begun goes on to its end
		})
	}
}

type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

func (s slots) take(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case s <- struct{}{}:
		return true
	}
}

func (s slots) give() { <-s }

// sizes are how many events come in one post: as often one as a few, or what a page has gathered.
var sizes = [...]int{1, 1, 1, 1, 1, 2, 3, 5, 10, 15}

const meanPost = 4.0

// post sends some events.
func (l *load) post(random *rand.Rand, due time.Time) func(ctx context.Context) {
	n := sizes[random.IntN(len(sizes))]
	sent := make([]sentEvent, n)
	var body []byte
	for i := range sent {
		number, who := l.next.Add(1), person(random.IntN(l.o.People))
		sent[i] = sentEvent{"u:" + who, fmt.Sprintf("e-%09d", number)}
		body = l.appendEvent(body, random, sent[i].id, who, due)
	}
	return func(ctx context.Context) {
		in := l.recorder.now()
		err := l.collect(ctx, body, sent)
		in.note(func(p *phase) {
			p.posts.add(time.Since(due), err)
			if err == nil {
				p.events += int64(n)
			}
		})
	}
}

var types = [...]string{"view_item", "view_item", "view_item", "select_item", "add_to_cart"}

// appendEvent makes an event that was captured a little before it is sent.
func (l *load) appendEvent(buf []byte, random *rand.Rand, id, who string, now time.Time) []byte {
	item := random.IntN(l.o.Items)
	item = item * item / l.o.Items // low numbers more often
	return fmt.Appendf(buf, `{"id":%q,"type":%q,"time":%q,"sent_at":%q,"user_id":%q,"session_id":"s-%s","channel":"web","surface":"home","items":[{"item_id":"item-%05d","price":"12.95"}],"device":{"id":"d-%s","os":"Android 16"}}`+"\n",
		id, types[random.IntN(len(types))], stamp(now.Add(-time.Second)), stamp(now), who, who, item, who)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// collect posts events, and notes whether they were acknowledged.
func (l *load) collect(ctx context.Context, body []byte, sent []sentEvent) error {
	var answer struct{ Accepted, Duplicate, Denied, Rejected int }
	err := l.collectors.Call(ctx, http.MethodPost, "/v1/events", body, &answer)
	if err == nil && answer.Accepted+answer.Duplicate != len(sent) {
		err = fmt.Errorf("of %d events %d are accepted, %d denied, %d rejected", len(sent), answer.Accepted, answer.Denied, answer.Rejected)
	}
	l.ledger.note(sent, err == nil)
	l.failed(err)
	return err
}

// rank asks for one person's ranking.
func (l *load) rank(random *rand.Rand, due time.Time) func(ctx context.Context) {
	body := fmt.Appendf(nil, `{"surface":"home","user_id":%q,"limit":20}`, person(random.IntN(l.o.People)))
	return func(ctx context.Context) {
		in := l.recorder.now()
		err := l.rankers.Call(ctx, http.MethodPost, "/v1/recommendations", body, nil)
		l.failed(err)
		in.note(func(p *phase) { p.rankings.add(time.Since(due), err) })
	}
}

// choose is a new visitor who accepts the policy.
func (l *load) choose(_ *rand.Rand, due time.Time) func(ctx context.Context) {
	path := fmt.Sprintf("/v1/visitors/new-%06d/policy", l.next.Add(1))
	body := fmt.Appendf(nil, `{"version":%q,"accepted":true,"jurisdiction":"CN"}`, l.policy)
	return func(ctx context.Context) {
		in := l.recorder.now()
		err := l.collectors.Call(ctx, http.MethodPut, path, body, nil)
		l.failed(err)
		in.note(func(p *phase) { p.choices.add(time.Since(due), err) })
	}
}

// failed counts a failure.
func (l *load) failed(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures[client.Reason(err)]++
}
