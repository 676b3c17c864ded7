package cluster

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"sluice/systemtest/run"
)

// Names of the phases that the ones between are compared with.
const (
	phaseBefore = "before"
	phaseAfter  = "after"
	phaseDuring = "all between" // what came between the two, as one
)

// recorder keeps what happens by phase. A request belongs to the phase in which it was due, whenever it is answered.
type recorder struct {
	mu     sync.Mutex // guards phases
	phases []*phase
}

// phase is what was measured from one change to the next.
type phase struct {
	name  string
	start mark

	mu              sync.Mutex // guards what follows
	events          int64      // acknowledged
	posts, rankings outcomes
	choices         outcomes
	fresh           []time.Duration
	stale           int64 // probes that saw no personal ranking in their time, or could not be made
}

// mark is what the balancers and the processes had done at some time.
type mark struct {
	at                  time.Time
	collectors, rankers int64         // requests that were sent once more
	brokers, nodes      time.Duration // processor time
}

func (s *system) mark() mark {
	m := mark{at: time.Now(), collectors: s.collectors.Stats().Retried, rankers: s.rankers.Stats().Retried}
	m.brokers, m.nodes = s.CPU()
	return m
}

// outcomes are of requests of one sort.
type outcomes struct {
	took   []time.Duration // from when the request was due, of those that did not fail
	failed int64
}

func (o *outcomes) add(took time.Duration, err error) {
	if err != nil {
		o.failed++
		return
	}
	o.took = append(o.took, took)
}

func (r *recorder) begin(name string, s *system) {
	p := &phase{name: name, start: s.mark()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phases = append(r.phases, p)
}

// now is the present phase.
func (r *recorder) now() *phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.phases[len(r.phases)-1]
}

// note changes what was measured.
func (p *phase) note(what func(p *phase)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what(p)
}

// measured is one phase in the result.
type measured struct {
	Phase            string     `json:"phase"`
	Seconds          float64    `json:"seconds"`
	BrokerCores      float64    `json:"broker_cores,omitempty"` // only where no process ends or begins
	NodeCores        float64    `json:"node_cores,omitempty"`   // as above
	Events           int64      `json:"events"`                 // acknowledged
	Posts            int64      `json:"posts"`
	PostsFailed      int64      `json:"posts_failed"`
	CollectorRetries int64      `json:"collector_retries"` // of choices, too
	Post             run.Spread `json:"post"`              // from when the request was due to its acknowledgement
	Rankings         int64      `json:"rankings"`
	RankingsFailed   int64      `json:"rankings_failed"`
	RankerRetries    int64      `json:"ranker_retries"` // of the probes' rankings, too
	Ranking          run.Spread `json:"ranking"`        // from when the request was due to its answer
	Choices          int64      `json:"choices"`
	ChoicesFailed    int64      `json:"choices_failed"`
	Choice           run.Spread `json:"choice"` // from when the request was due until it is obeyed everywhere
	Probes           int64      `json:"probes"`
	ProbesFailed     int64      `json:"probes_failed"`
	Fresh            run.Spread `json:"fresh"` // from an event's acknowledgement to the first ranking that shows it
}

// results are the phases from the first calm one to the last, and before the last what came between as one.
func (r *recorder) results(s *system) (all []measured) {
	end := s.mark()
	r.mu.Lock()
	defer r.mu.Unlock()
	during, between := &phase{name: phaseDuring}, make([]measured, 0, len(r.phases))
	for _, p := range slices.Backward(r.phases) {
		m := p.result()
		m.Seconds = float64(end.at.Sub(p.start.at).Milliseconds()) / 1000
		m.CollectorRetries, m.RankerRetries = end.collectors-p.start.collectors, end.rankers-p.start.rankers
		if calm := p.name == phaseBefore || p.name == phaseAfter; calm {
			m.BrokerCores, m.NodeCores = (end.brokers-p.start.brokers).Seconds()/m.Seconds, (end.nodes-p.start.nodes).Seconds()/m.Seconds
		} else {
			during.take(p)
			between = append(between, m)
		}
		all = append(all, m)
		if end = p.start; p.name == phaseBefore {
			break
		}
	}
	whole := during.result()
	for _, m := range between {
		whole.Seconds += m.Seconds
		whole.CollectorRetries += m.CollectorRetries
		whole.RankerRetries += m.RankerRetries
	}
	slices.Reverse(all)
	return slices.Insert(all, len(all)-1, whole)
}

// take adds what another phase measured.
func (p *phase) take(other *phase) {
	p.events += other.events
	p.posts.take(&other.posts)
	p.rankings.take(&other.rankings)
	p.choices.take(&other.choices)
	p.fresh = append(p.fresh, other.fresh...)
	p.stale += other.stale
}

func (o *outcomes) take(other *outcomes) {
	o.took = append(o.took, other.took...)
	o.failed += other.failed
}

// result is what the phase itself knows.
func (p *phase) result() measured {
	p.mu.Lock()
	defer p.mu.Unlock()
	return measured{
		Phase: p.name, Events: p.events,
		Posts: p.posts.count(), PostsFailed: p.posts.failed, Post: run.SpreadOf(p.posts.took),
		Rankings: p.rankings.count(), RankingsFailed: p.rankings.failed, Ranking: run.SpreadOf(p.rankings.took),
		Choices: p.choices.count(), ChoicesFailed: p.choices.failed, Choice: run.SpreadOf(p.choices.took),
		Probes: int64(len(p.fresh)) + p.stale, ProbesFailed: p.stale, Fresh: run.SpreadOf(p.fresh),
	}
}

func (o *outcomes) count() int64 { return int64(len(o.took)) + o.failed }

func printTable(w io.Writer, phases []measured) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "phase\ts\tevents\tposts\tfailed\tretried\tp50 ms\tp99\trankings\tfailed\tretried\tp50 ms\tp99\tchoices\tfailed\tp50 ms\tp99\tprobes\tfailed\tfresh p50 ms\tp99\tmax\t")
	for _, p := range phases {
		fmt.Fprintf(t, "%s\t%.1f\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%d\t%d\t%d\t%.1f\t%.1f\t%d\t%d\t%.0f\t%.0f\t%d\t%d\t%.0f\t%.0f\t%.0f\t\n",
			p.Phase, p.Seconds, p.Events, p.Posts, p.PostsFailed, p.CollectorRetries, p.Post.P50, p.Post.P99,
			p.Rankings, p.RankingsFailed, p.RankerRetries, p.Ranking.P50, p.Ranking.P99, p.Choices, p.ChoicesFailed, p.Choice.P50, p.Choice.P99,
			p.Probes, p.ProbesFailed, p.Fresh.P50, p.Fresh.P99, p.Fresh.Max)
	}
	_ = t.Flush() // a table for people; the result is printed as JSON, too
}
