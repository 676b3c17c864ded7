package risk

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"sluice/risk/riskpb"
)

// keptNewest is how many decisions of each outcome are kept for the list, the newest. An answer has at most 100; the rest fill in for those that have expired.
const keptNewest = 500

// newest are the newest decisions of each outcome: heaps, the oldest first, since partitions are read side by side and so not in the order of time. The log's
// follower adds, any may read.
type newest struct {
	mu sync.Mutex // guards what follows
	of [riskpb.Decision_BLOCK + 1][]aged
}

func (n *newest) add(o riskpb.Decision_Outcome, entry aged) {
	if o < 0 || int(o) >= len(n.of) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	heap := n.of[o]
	if len(heap) < keptNewest {
		n.of[o] = append(heap, entry)
		for i := len(heap); i > 0 && n.of[o][(i-1)/2].time > n.of[o][i].time; i = (i - 1) / 2 {
			n.of[o][(i-1)/2], n.of[o][i] = n.of[o][i], n.of[o][(i-1)/2]
		}
		return
	}
	if entry.time > heap[0].time {
		heap[0] = entry
		sink(heap)
	}
}

// sink brings the first entry of a heap to its place.
func sink(heap []aged) {
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < len(heap) && heap[child+1].time < heap[child].time {
			child++
		}
		if child >= len(heap) || heap[i].time <= heap[child].time {
			return
		}
		heap[i], heap[child] = heap[child], heap[i]
		i = child
	}
}

// list gives the newest first; an unspecified outcome means every one.
func (n *newest) list(o riskpb.Decision_Outcome) []aged {
	n.mu.Lock()
	defer n.mu.Unlock()
	var entries []aged
	for i := range n.of {
		if o == riskpb.Decision_OUTCOME_UNSPECIFIED || int(o) == i {
			entries = append(entries, n.of[i]...)
		}
	}
	slices.SortFunc(entries, func(a, b aged) int { return cmp.Or(cmp.Compare(b.time, a.time), slices.Compare(a.id[:], b.id[:])) })
	return entries
}

// outcomeField is the number of Decision.outcome.
const outcomeField = 5

// outcomeOf reads nothing of an encoded decision but its outcome: the log's follower sees every decision, and few are listed.
func outcomeOf(data []byte) riskpb.Decision_Outcome {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			break
		}
		data = data[n:]
		if number == outcomeField && kind == protowire.VarintType {
			value, _ := protowire.ConsumeVarint(data)
			return riskpb.Decision_Outcome(value) //nolint:gosec // what is no outcome is listed nowhere
		}
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			break
		}
		data = data[n:]
	}
	return riskpb.Decision_OUTCOME_UNSPECIFIED
}

// Newest are the newest decisions of an outcome, at most limit; of every outcome if it is unspecified.
func (s *Store) Newest(ctx context.Context, outcome riskpb.Decision_Outcome, limit int) ([]*riskpb.Decision, error) {
	var found []*riskpb.Decision
	for _, entry := range s.newest.list(outcome) {
		if len(found) == limit {
			break
		}
		switch d, err := s.Find(ctx, entry.id); {
		case err == nil:
			found = append(found, d)
		case !errors.Is(err, ErrNotFound): // else it has expired
			return nil, err
		}
	}
	return found, nil
}

// Listed is a decision in a list.
type Listed struct {
	DecisionID  string    `json:"decision_id"`
	EventType   string    `json:"event_type"`
	Time        time.Time `json:"time" doc:"Of the event."`
	Outcome     string    `json:"outcome" enum:"allow,challenge,review,block"`
	Score       uint32    `json:"score"`
	Rules       []string  `json:"rules" doc:"Rules that hit."`
	ShadowRules []string  `json:"shadow_rules" doc:"Rules in shadow that hit; they changed nothing."`
}

type listInput struct {
	Outcome string `query:"outcome" enum:"allow,challenge,review,block" doc:"Only these; left out: all."`
	Limit   int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type listOutput struct {
	Body struct {
		Items []Listed `json:"items" doc:"The newest first."`
	}
}

// list is GET /v1/decisions.
func (a *decisions) list(ctx context.Context, in *listInput) (*listOutput, error) {
	outcome := riskpb.Decision_Outcome(riskpb.Decision_Outcome_value[strings.ToUpper(in.Outcome)])
	found, err := a.Store.Newest(ctx, outcome, in.Limit)
	if err != nil {
		return nil, unavailable()
	}
	out := new(listOutput)
	out.Body.Items = make([]Listed, len(found))
	for i, d := range found {
		out.Body.Items[i] = Listed{
			DecisionID: d.DecisionId, EventType: d.EventType, Time: timeOf(d.Time), Outcome: outcomeName(d.Outcome), Score: d.Score,
			Rules: listed(d.Rules), ShadowRules: listed(d.ShadowRules),
		}
	}
	return out, nil
}
