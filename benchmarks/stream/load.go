package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load makes and sends the events.
type load struct {
	o      options
	url    string
	client *http.Client
	next   atomic.Int64
	policy string
}

func newLoad(o options, url string) *load {
	return &load{o: o, url: url, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: time.Minute}}
}

// eventSize is the size of one event's JSON in bytes.
const eventSize = 412

// event appends one event. Its time is a little in the past of its sending, as a page's is.
func (l *load) event(buf []byte, person, item int, now time.Time) []byte {
	start := len(buf)
	n := l.next.Add(1)
	types := [...]string{"view_item", "view_item", "view_item", "view_item", "view_item", "view_item", "select_item", "select_item", "add_to_cart", "add_to_wishlist"}
	buf = fmt.Appendf(buf, `{"id":"e-%012d","type":"%s","time":"%s","sent_at":"%s","user_id":"person-%06d","session_id":"s-%06d-%d","channel":"web","surface":"home","locale":"en-GB","items":[{"item_id":"item-%06d","index":%d,"price":"12.95"}],"device":{"id":"d-%06d","model":"Pixel 9","os":"Android 16"}`,
		n, types[n%int64(len(types))], now.Add(-2*time.Second).UTC().Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339Nano), person, person, n/500_000, item, n%20, person)
	if pad := eventSize - (len(buf) - start) - len(`,"network":{"carrier":""}}`); pad > 0 {
		buf = append(buf, `,"network":{"carrier":"`...)
		buf = append(buf, strings.Repeat("x", min(pad, 60))...)
		buf = append(buf, `"}`...)
	}
	return append(buf, '}')
}

// acceptPolicies imports the acceptance of everybody.
func (l *load) acceptPolicies(ctx context.Context) error {
	var policy struct{ Version string }
	if err := l.call(ctx, http.MethodGet, "/v1/policy", nil, &policy); err != nil {
		return err
	}
	l.policy = policy.Version
	const batch = 10_000
	for from := 0; from < l.o.people; from += batch {
		var body []byte
		for p := from; p < min(from+batch, l.o.people); p++ {
			body = fmt.Appendf(body, `{"subject":"u:person-%06d","policy_version":%q,"jurisdiction":"CN","grants":["personalize"]}`+"\n", p, policy.Version)
		}
		if err := l.call(ctx, http.MethodPost, "/v1/imports", body, nil); err != nil {
			return err
		}
	}
	return l.settle(ctx)
}

// send posts n events over the connections as fast as they are accepted and returns the bytes of their JSON.
func (l *load) send(ctx context.Context, n, perPost, connections int) (int, error) {
	var posts, sent atomic.Int64
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for c := range connections {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(c), 7)) //nolint:gosec // a reproducible load
			zipf := rand.NewZipf(random, 1.1, 1, uint64(l.o.items-1))
			for posts.Add(1) <= int64(n/perPost) && errs[c] == nil {
				body := l.batch(random, zipf, perPost)
				sent.Add(int64(len(body) - perPost))
				errs[c] = l.post(ctx, body, perPost)
			}
		})
	}
	wg.Wait()
	return int(sent.Load()), errors.Join(errs...)
}

func (l *load) batch(random *rand.Rand, zipf *rand.Zipf, n int) []byte {
	body := make([]byte, 0, n*(eventSize+10))
	now := time.Now()
	for range n {
		body = l.event(body, random.IntN(l.o.people), int(zipf.Uint64()), now)
		body = append(body, '\n')
	}
	return body
}

func (l *load) post(ctx context.Context, body []byte, want int) error {
	var answer struct{ Accepted, Duplicate, Denied, Rejected int }
	if err := l.call(ctx, http.MethodPost, "/v1/events", body, &answer); err != nil {
		return err
	}
	if answer.Accepted != want {
		return fmt.Errorf("of %d events: %+v", want, answer)
	}
	return nil
}

// pace posts events at a rate until ctx ends.
func (l *load) pace(ctx context.Context, rate, perPost int, sent *atomic.Int64) error {
	zipf := rand.NewZipf(random, 1.1, 1, uint64(l.o.items-1))
	ticker := time.NewTicker(time.Second * time.Duration(perPost) / time.Duration(rate))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := l.post(ctx, l.batch(random, zipf, perPost), perPost); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the phase is over
			}
			return err
		}
		sent.Add(int64(perPost))
	}
}

// probe sends the first event of a new visitor again and again, and times how long it takes from its acknowledgement to a personal answer.
func (l *load) probe(ctx context.Context) (fresh, rank []time.Duration, err error) {
	for i := 0; ctx.Err() == nil; i++ {
		visitor := fmt.Sprintf("probe-%06d", i)
		var set struct{ Revision string }
		path := "/v1/visitors/" + visitor + "/policy"
		if err := l.call(ctx, http.MethodPut, path, fmt.Appendf(nil, `{"version":%q,"accepted":true,"jurisdiction":"CN"}`, l.policy), &set); err != nil {
			return fresh, rank, ignoreEnd(ctx, err)
		}
		now := time.Now().UTC().Format(time.RFC3339Nano)
		event := fmt.Appendf(nil, `{"id":"p-%s","type":"view_item","time":%q,"sent_at":%q,"anonymous_id":%q,"channel":"web","items":[{"item_id":"item-%06d"}],"consent":{"revision":%q}}`, visitor, now, now, visitor, i%100, set.Revision)
		if err := l.post(ctx, event, 1); err != nil {
			return fresh, rank, ignoreEnd(ctx, err)
		}
		took, ranks, err := l.untilPersonal(ctx, visitor)
		if err != nil {
			return fresh, rank, ignoreEnd(ctx, err)
		}
		fresh, rank = append(fresh, took), append(rank, ranks...)
	}
	return fresh, rank, nil
}

func (l *load) untilPersonal(ctx context.Context, visitor string) (took time.Duration, ranks []time.Duration, err error) {
	acknowledged := time.Now()
	for {
		began := time.Now()
		var answer struct{ Personalized bool }
		err := l.call(ctx, http.MethodPost, "/v1/recommendations", fmt.Appendf(nil, `{"surface":"home","anonymous_id":%q,"limit":20}`, visitor), &answer)
		if err != nil {
			return 0, nil, err
		}
		ranks = append(ranks, time.Since(began))
		if answer.Personalized {
			return time.Since(acknowledged), ranks, nil
		}
		if time.Since(acknowledged) > 20*time.Second {
			return 0, nil, errors.New("no personal answer in 20 s")
		}
	}
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// settle waits until every engine has committed all that was sent.
func (l *load) settle(ctx context.Context) error {
	for {
		var lag struct{ Lag int64 }
		if err := l.call(ctx, http.MethodGet, "/v1/state/lag", nil, &lag); err != nil {
			return err
		}
		if lag.Lag == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond) // polling from outside: nothing to wait on
	}
}

func (l *load) call(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, l.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	key := "demo_server"
	if strings.HasPrefix(path, "/v1/state") {
		key = "demo_operator"
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if len(body) > 0 {
		req.Header.Set("Content-Type", contentType(path))
	}
	answer, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, answer.Status, data)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

func contentType(path string) string {
	if path == "/v1/events" || path == "/v1/imports" {
		return "application/x-ndjson"
	}
	return "application/json"
}
