package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"sluice/systemtest/run"
)

// probeTime bounds how long a probe waits for a personal ranking.
const probeTime = 45 * time.Second

// errStale is that a probe's event did not show in time.
var errStale = errors.New("no personal ranking in time")

// probe is a visitor who comes for the first time: looks at an item, and asks for rankings until one is personal.
func (l *load) probe(*rand.Rand, time.Time) func(ctx context.Context) {
	n := l.nextProbe.Add(1)
	return func(ctx context.Context) {
		in, took, err := l.freshness(ctx, prober(n))
		l.failed(err)
		in.note(func(p *phase) {
			if err != nil {
				p.stale++
				return
			}
			p.fresh = append(p.fresh, took)
		})
	}
}

// freshness is how long it took from the acknowledgement of the visitor's event to a personal ranking, and the phase in which that began.
func (l *load) freshness(ctx context.Context, visitor string) (in *phase, took time.Duration, err error) {
	in = l.recorder.now()
	now := time.Now()
	event := fmt.Appendf(nil, `{"id":%q,"type":"view_item","time":%q,"sent_at":%q,"anonymous_id":%q,"channel":"web","items":[{"item_id":"item-00001"}]}`+"\n",
		visitor, stamp(now), stamp(now), visitor)
	if err := l.collect(ctx, event, []sentEvent{{"a:" + visitor, visitor}}); err != nil {
		return in, 0, err
	}
	in, acknowledged := l.recorder.now(), time.Now()
	body := fmt.Appendf(nil, `{"surface":"home","anonymous_id":%q,"limit":20}`, visitor)
	for time.Since(acknowledged) < probeTime {
		var answer struct{ Personalized bool }
		err := l.rankers.Call(ctx, http.MethodPost, "/v1/recommendations", body, &answer)
		if took = time.Since(acknowledged); err == nil && answer.Personalized {
			return in, took, nil
		}
		run.Sleep(ctx, pollAfter(took))
	}
	return in, 0, errStale
}

// pollAfter is the time between two questions: 5 ms, and of those who wait long a hundredth of what they have waited, so that they do not become the load.
func pollAfter(waited time.Duration) time.Duration { return max(5*time.Millisecond, waited/100) }
