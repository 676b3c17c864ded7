package optout

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// witness judges every answer and counts.
type witness struct {
	fault                     atomic.Int64 // odd while there is a fault, or a ranker is not ready after one
	toggles                   atomic.Int64
	refused                   atomic.Int64 // writes that failed
	violations, late, crossed atomic.Int64

	mu     sync.Mutex // guards what follows
	counts counts
	calm   []time.Duration // from "deny" to its acknowledgement
	faulty []time.Duration // the same, where a fault was at any time between
	latest time.Duration   // after an acknowledgement that a personal answer arrived
	beyond int64
}

// counts are of single answers and choices.
type counts struct {
	Denials         int64           `json:"denials"`                         // acknowledged
	DenialsPersonal int64           `json:"denials_after_a_personal_answer"` // of them, those of visitors who had a personal answer before
	Judged          int64           `json:"answers_after_denial"`            // to requests that were sent after an acknowledged "deny" and before the next "allow"
	Held            int64           `json:"answers_held"`                    // that took more than 250 ms: a fault was in their way
	HeldPersonal    int64           `json:"answers_held_personal"`           // of them
	ByRanker        []answersOfNode `json:"answers"`
}

// answersOfNode counts one ranker's answers.
type answersOfNode struct {
	Personal    int64 `json:"personal"`
	NonPersonal int64 `json:"non_personal"`
	Unavailable int64 `json:"unavailable"` // 503: it cannot know now what people have chosen
	Failed      int64 `json:"failed"`      // anything else
}

// findings are the witness's part of the result.
type findings struct {
	Toggles      int64 `json:"toggles"`
	FailedWrites int64 `json:"failed_writes"`
	counts

	Violations  int64   `json:"violations"`
	Crossed     int64   `json:"answers_crossing"`           // sent before the acknowledgement of "deny", arrived after it, not personal or not too late
	LateAnswers int64   `json:"late_answers"`               // personal, sent before the acknowledgement, arrived more than 50 ms after it
	BeyondLease int64   `json:"late_answers_beyond_lease"`  // of them, more than 1.1 s and 50 ms after it
	LatestMS    float64 `json:"latest_personal_arrival_ms"` // after an acknowledgement

	DenyCalm   run.Spread `json:"deny_without_fault"`
	DenyFaulty run.Spread `json:"deny_with_fault"`
	NFaulty    int        `json:"denials_with_fault"`
}

func newWitness(rankers int) *witness {
	return &witness{counts: counts{ByRanker: make([]answersOfNode, rankers)}}
}

// answer is what is read of a ranking.
type answer struct {
	Personalized bool
	Items        []struct {
		Reasons []struct {
			ItemID string `json:"item_id"`
		}
	}
}

// personal tells whether the answer knows something of the person. On the surface that is asked for only what the person did makes a reason name an item.
func (a *answer) personal() bool {
	if a.Personalized {
		return true
	}
	for _, item := range a.Items {
		for _, reason := range item.Reasons {
			if reason.ItemID != "" {
				return true
			}
		}
	}
	return false
}

// question is a request and what was known just before it was sent.
type question struct {
	ranker int
	before *choice
	sent   time.Time // read after before was
	answer answer
}

// On loopback an answer arrives when it is written; onTheWay is for what the two processes' schedulers add.
const (
	onTheWay = 50 * time.Millisecond
	lease    = 1100 * time.Millisecond
	held     = 250 * time.Millisecond // far more than an answer takes on a busy machine
)

// judge tells whether the answer is personal, and counts what it means. arrived was read before after was.
func (w *witness) judge(q *question, arrived time.Time, after *choice, err error) (personal bool) {
	personal = err == nil && q.answer.personal()
	asked, now := !q.before.denied.IsZero(), !after.denied.IsZero()
	switch {
	case asked && after == q.before && personal:
		w.violations.Add(1)
	case !asked && now && arrived.After(after.denied):
		w.crossed.Add(1)
		if personal {
			w.lateness(arrived.Sub(after.denied))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if asked && after == q.before && err == nil {
		w.counts.Judged++
	}
	if arrived.Sub(q.sent) > held {
		w.counts.Held++
		if personal {
			w.counts.HeldPersonal++
		}
	}
	w.counts.ByRanker[q.ranker].add(personal, err)
	return personal
}

func (a *answersOfNode) add(personal bool, err error) {
	refused := new(client.Refused)
	switch {
	case personal:
		a.Personal++
	case err == nil:
		a.NonPersonal++
	case errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable:
		a.Unavailable++
	default:
		a.Failed++
	}
}

// lateness notes how long after an acknowledgement a personal answer to an earlier request arrived.
func (w *witness) lateness(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest = max(w.latest, by)
	if by > onTheWay {
		w.late.Add(1)
	}
	if by > lease+onTheWay {
		w.beyond++
	}
}

// denied notes how long an acknowledgement took. fault is what the counter was before.
func (w *witness) denied(took time.Duration, fault int64, seen bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Denials++
	if seen {
		w.counts.DenialsPersonal++
	}
	if fault%2 == 1 || w.fault.Load() != fault {
		w.faulty = append(w.faulty, took)
		return
	}
	w.calm = append(w.calm, took)
}

func (w *witness) findings() findings {
	w.mu.Lock()
	defer w.mu.Unlock()
	return findings{
		Toggles: w.toggles.Load(), FailedWrites: w.refused.Load(), counts: w.counts,
		Violations: w.violations.Load(), Crossed: w.crossed.Load(), LateAnswers: w.late.Load(), BeyondLease: w.beyond,
		LatestMS: float64(w.latest.Microseconds()) / 1000,
		DenyCalm: run.SpreadOf(w.calm), DenyFaulty: run.SpreadOf(w.faulty), NFaulty: len(w.faulty),
	}
}
