package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// load is everything that comes from outside: what people do, and what is known of it.
type load struct {
	*storefront
	o      *Command
	policy string
	people []*person // by number

	shoppers, visitors []*person // allow, some at times not
	refusers           []*person // have opted out
	strangers          []*person // have accepted nothing
	togglers           []*person // change their mind all the time
	payers             []*person // ask for decisions

	decided map[string]answer // decisions that were answered, by event id; of one goroutine

	rankings, rankingsOff, violations, choices atomic.Int64

	running   sync.WaitGroup
	endMaking context.CancelFunc // nothing new is begun after it
	endTrying context.CancelFunc // nothing is tried again after it

	mu    sync.Mutex // guards wrong
	wrong []string
}

// answer is what the decisions API said.
type answer struct {
	ID      string `json:"decision_id"`
	Outcome string `json:"outcome"`
}

const (
	workers = 6
	perPost = 10
	rankers = 3
)

// newLoad introduces the people: most accept the policy, some then opt out.
func newLoad(ctx context.Context, o *Command, s *system) (*load, error) {
	l := &load{storefront: newStorefront(s.balancer), o: o, decided: make(map[string]answer)}
	var policy struct{ Version string }
	if err := l.until(ctx, client.ServerKey, http.MethodGet, "/v1/policy", nil, &policy); err != nil {
		return nil, err
	}
	l.policy = policy.Version
	random := l.random(0)
	l.shoppers = l.invent(o.People*55/100, true)
	l.visitors = l.invent(o.People*20/100, false)
	l.refusers = l.invent(o.People*10/100, true)
	l.strangers = l.invent(o.People*5/100, true)
	l.payers = l.invent(o.People*5/100, true)
	l.togglers = l.invent(min(12, o.People*5/100), true)
	for _, p := range l.visitors {
		p.skew = time.Duration(random.Int64N(int64(4*time.Hour))) - 2*time.Hour
	}
	group, accepting := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, p := range slices.Concat(l.shoppers, l.visitors, l.refusers, l.payers, l.togglers) {
		group.Go(func() error {
			return l.set(accepting, p, http.MethodPut, "/policy", fixed(`{"version":%q,"accepted":true,"jurisdiction":"CN"}`, l.policy))
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, p := range l.refusers {
		if err := l.choose(ctx, p, false); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *load) invent(n int, user bool) []*person {
	people := make([]*person, max(1, n))
	for i := range people {
		people[i] = &person{number: len(l.people), user: user}
		l.people = append(l.people, people[i])
	}
	return people
}

// random is a goroutine's own source.
func (l *load) random(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(l.o.Seed, stream)) //nolint:gosec // a reproducible load
}

// start lets everybody act until finish.
func (l *load) start(ctx context.Context) {
	trying, endTrying := context.WithCancel(ctx)
	making, endMaking := context.WithCancel(trying)
	l.endMaking, l.endTrying = endMaking, endTrying
	stream := uint64(1)
	act := func(what func(making, trying context.Context, random *rand.Rand) error) {
		random := l.random(stream)
		stream++
		l.running.Go(func() {
			if err := what(making, trying, random); err != nil {
				l.report("the load: %v", err)
			}
		})
	}
	for w := range workers {
		own := func(all []*person) []*person {
			var mine []*person
			for i := w; i < len(all); i += workers {
				mine = append(mine, all[i])
			}
			return mine
		}
		shop := slices.Concat(own(l.shoppers), own(l.refusers))
		pages := own(l.visitors)
		act(func(making, trying context.Context, random *rand.Rand) error {
			return l.browse(making, trying, random, shop, pages)
		})
	}
	for _, p := range l.togglers {
		act(func(making, trying context.Context, random *rand.Rand) error {
			return l.toggle(making, trying, random, p)
		})
	}
	for range rankers {
		act(l.rank)
	}
	act(l.strange)
	act(l.pay)
}

// finish lets nobody begin anything more, and waits until what was begun is acknowledged.
func (l *load) finish(ctx context.Context) error {
	l.endMaking()
	defer l.endTrying()
	over := make(chan struct{})
	go func() {
		l.running.Wait()
		close(over)
	}()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return errors.New("requests are not acknowledged two minutes after the last fault")
	}
}

// settle waits until every engine has committed everything.
func (l *load) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var state struct{ Lag int64 }
	for {
		if err := l.until(ctx, client.OperatorKey, http.MethodGet, "/v1/state/lag", nil, &state); err != nil {
			return fmt.Errorf("lag %d: %w", state.Lag, err)
		}
		if state.Lag == 0 {
			return nil
		}
		run.Sleep(ctx, retryWait)
	}
}

// mostReported bounds what is told in words.
const mostReported = 20

func (l *load) report(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < mostReported {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

func (l *load) problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wrong
}

// set makes a settings write and notes its revision.
func (l *load) set(ctx context.Context, p *person, method, path string, body func(time.Time) []byte) error {
	var written struct{ Revision string }
	if err := l.until(ctx, client.ServerKey, method, p.path(path), body, &written); err != nil {
		return err
	}
	p.revision = written.Revision
	l.choices.Add(1)
	return nil
}

func (l *load) choose(ctx context.Context, p *person, allow bool) error {
	decision := "deny"
	if allow {
		decision = "allow"
	}
	err := l.set(ctx, p, http.MethodPut, "/consent/personalize", fixed(`{"decision":%q}`, decision))
	if err == nil && !allow {
		p.denials++
	}
	return err
}

// post sends events of one key in one request until they are acknowledged, and tells how many nobody may use.
func (l *load) post(ctx context.Context, key string, events []*event) (denied int, err error) {
	var said struct{ Accepted, Duplicate, Denied, Rejected int }
	err = l.until(ctx, key, http.MethodPost, "/v1/events", func(now time.Time) []byte {
		var body []byte
		for _, e := range events {
			body = e.appendTo(body, now)
		}
		return body
	}, &said)
	if err != nil {
		return 0, err
	}
	if said.Rejected > 0 || said.Accepted+said.Duplicate+said.Denied != len(events) {
		return 0, fmt.Errorf("of %d events the collector says %+v", len(events), said)
	}
	return said.Denied, nil
}

// browse lets a worker's people browse and shop at the load's rate, and now and then change their settings.
func (l *load) browse(making, trying context.Context, random *rand.Rand, shop, pages []*person) error {
	ticker := time.NewTicker(time.Second * perPost * workers / time.Duration(l.o.Rate))
	defer ticker.Stop()
	var sent shelf
	for {
		select {
		case <-making.Done():
			return nil
		case <-ticker.C:
		}
		key, people, kinds := client.ServerKey, shop, shopping
		if len(pages) > 0 && random.IntN(4) == 0 {
			key, people, kinds = client.WriteKey, pages, browsing
		}
		if err := l.postSome(trying, random, key, people, kinds, &sent); err != nil {
			return ignoreEnd(trying, err)
		}
		if err := l.postAgain(trying, random, &sent); err != nil {
			return ignoreEnd(trying, err)
		}
		if random.IntN(20) == 0 {
			if err := l.settings(trying, random, people[random.IntN(len(people))]); err != nil {
				return ignoreEnd(trying, err)
			}
		}
	}
}

// shelf keeps the newest posts of which everything was accepted.
type shelf struct {
	posts [64]post
	n     int
}

type post struct {
	key    string
	events []*event
}

// postAgain sends an older post once more, now and then, as a client that missed its answer. Collectors that have been restarted meanwhile do not know it.
func (l *load) postAgain(ctx context.Context, random *rand.Rand, sent *shelf) error {
	if sent.n == 0 || random.IntN(15) > 0 {
		return nil
	}
	p := sent.posts[random.IntN(min(sent.n, len(sent.posts)))]
	_, err := l.post(ctx, p.key, p.events)
	return err
}

// postSome sends a few people's events.
func (l *load) postSome(ctx context.Context, random *rand.Rand, key string, people []*person, kinds []weighted, sent *shelf) error {
	events := make([]*event, perPost)
	for i := range events {
		p := people[random.IntN(len(people))]
		events[i] = p.capture(random, pickType(random, kinds), time.Now())
	}
	denied, err := l.post(ctx, key, events)
	if err != nil {
		return err
	}
	deniable := 0
	for _, e := range events {
		if e.deniable {
			deniable++
		}
		if denied == 0 || !e.deniable {
			e.mark(acked)
		}
	}
	if denied > deniable {
		return fmt.Errorf("%d events were denied where at most %d may be", denied, deniable)
	}
	if denied == 0 {
		sent.posts[sent.n%len(sent.posts)] = post{key, events}
		sent.n++
	}
	return nil
}

// settings changes something of a person's.
func (l *load) settings(ctx context.Context, random *rand.Rand, p *person) error {
	switch n := random.IntN(10); {
	case n < 3:
		return l.choose(ctx, p, random.IntN(2) == 0)
	case n < 5:
		method := http.MethodPut
		if random.IntN(2) == 0 {
			method = http.MethodDelete
		}
		return l.set(ctx, p, method, fmt.Sprintf("/blocks/item/item-%d", random.IntN(5)), nil)
	case n < 9:
		return l.deleteFootprint(ctx, random, p)
	default:
		return l.deleteHistory(ctx, p)
	}
}

// footprints is a page of a history.
type footprints struct {
	Items []struct {
		ID string `json:"event_id"`
	}
}

func (l *load) footprints(ctx context.Context, p *person) (page footprints, err error) {
	err = l.until(ctx, client.ServerKey, http.MethodGet, p.path("/history?limit=20"), nil, &page)
	return page, err
}

// deleteFootprint deletes one, and looks whether it is gone.
func (l *load) deleteFootprint(ctx context.Context, random *rand.Rand, p *person) error {
	before, err := l.footprints(ctx, p)
	if err != nil || len(before.Items) == 0 {
		return err
	}
	id := before.Items[random.IntN(len(before.Items))].ID
	if err := l.set(ctx, p, http.MethodDelete, "/history/"+id, nil); err != nil {
		return err
	}
	after, err := l.footprints(ctx, p)
	for _, f := range after.Items {
		if f.ID == id {
			l.violations.Add(1)
			l.report("a footprint is shown after its deletion was acknowledged")
		}
	}
	return err
}

// deleteHistory deletes everything, and looks whether it is gone: nobody else acts for the person meanwhile.
func (l *load) deleteHistory(ctx context.Context, p *person) error {
	if err := l.set(ctx, p, http.MethodDelete, "/history", nil); err != nil {
		return err
	}
	after, err := l.footprints(ctx, p)
	if len(after.Items) > 0 {
		l.violations.Add(1)
		l.report("%d footprints are shown after the deletion of all was acknowledged", len(after.Items))
	}
	return err
}

// toggle switches a person's personalization off and on. Events of between tell, without the log, what personalize must and must not have.
func (l *load) toggle(making, trying context.Context, random *rand.Rand, p *person) error {
	for making.Err() == nil {
		allow := p.epoch.Load()%2 == 1
		if allow {
			p.epoch.Add(1) // from here on nothing can be said
		}
		if err := l.choose(trying, p, allow); err != nil {
			return ignoreEnd(trying, err)
		}
		known := must
		if !allow {
			p.epoch.Add(1)
			known = mustNot
		}
		e := p.captureKnowing(random)
		denied, err := l.post(trying, client.ServerKey, []*event{e})
		if err != nil {
			return ignoreEnd(trying, err)
		}
		if denied > 0 {
			return errors.New("an item view of a person who accepted the policy was denied")
		}
		e.mark(acked | known)
		run.Sleep(making, time.Duration(100+random.IntN(500))*time.Millisecond)
	}
	return nil
}

// rank asks for rankings of those who toggle. A personal answer to a request that began and ended within one acknowledged opt-out is a violation.
func (l *load) rank(making, _ context.Context, random *rand.Rand) error {
	for run.Sleep(making, time.Duration(10+random.IntN(40))*time.Millisecond) {
		p := l.togglers[random.IntN(len(l.togglers))]
		began := p.epoch.Load()
		var said struct{ Personalized bool }
		final, err := l.once(making, client.ServerKey, http.MethodPost, "/v1/recommendations", fmt.Appendf(nil, `{"surface":"home","user_id":%q,"limit":10}`, p.id()), &said)
		if final && err != nil {
			return err
		}
		if err != nil {
			continue
		}
		l.rankings.Add(1)
		if began%2 == 0 || p.epoch.Load() != began {
			continue
		}
		l.rankingsOff.Add(1)
		if said.Personalized {
			l.violations.Add(1)
			l.report("a personal answer after an acknowledged opt-out, person %d", p.number)
		}
	}
	return nil
}

// strange lets those who accepted nothing browse, which nobody may use, and pay, which the law lets risk see.
func (l *load) strange(making, trying context.Context, random *rand.Rand) error {
	for run.Sleep(making, 200*time.Millisecond) {
		p := l.strangers[random.IntN(len(l.strangers))]
		kind, said := "view_item", refused
		if random.IntN(3) == 0 {
			kind, said = "payment", acked
		}
		e := p.capture(random, kind, time.Now())
		denied, err := l.post(trying, client.ServerKey, []*event{e})
		if err != nil {
			return ignoreEnd(trying, err)
		}
		if denied == 1 != (said == refused) {
			return fmt.Errorf("%s of a person who accepted nothing: denied %d", kind, denied)
		}
		e.mark(said)
	}
	return nil
}

// pay asks for decisions.
func (l *load) pay(making, trying context.Context, random *rand.Rand) error {
	for run.Sleep(making, 150*time.Millisecond) {
		p := l.payers[random.IntN(len(l.payers))]
		e := p.capture(random, "payment", time.Now())
		body := append(slices.Clone(e.text), '}') // the same bytes each time: another body would be refused
		var said answer
		if err := l.until(trying, client.ServerKey, http.MethodPost, "/v1/decisions", func(time.Time) []byte { return body }, &said); err != nil {
			return ignoreEnd(trying, err)
		}
		e.mark(acked)
		l.decided[eventID(p.number, e.sequence)] = said
	}
	return nil
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
