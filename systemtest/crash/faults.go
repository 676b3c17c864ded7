package crash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/internal/stream"
	"sluice/systemtest/client"
	"sluice/systemtest/fault"
	"sluice/systemtest/run"
)

// recoverTime bounds how long the system may take to work again.
const recoverTime = 2 * time.Minute

// faults attacks until it is enough, and times each recovery: from the fault's end (the process started again, went on, or its connections healed) until a new
// visitor of every partition, who accepts the policy and looks at an item, gets a personal answer: through collector, filter, features and a ranker's view.
// calm is how long the same takes when nothing has happened.
func faults(ctx context.Context, o *Command, s *system, l *load, counts map[string]int, say run.SayFunc) (recovered []time.Duration, calm time.Duration, problems []string, err error) {
	probe := newProbe(s, l)
	for range 3 { // the first one finds everything cold
		if calm, err = probe.recovery(ctx, time.Now()); err != nil {
			return nil, 0, nil, fmt.Errorf("before any fault: %w", err)
		}
	}
	say("without a fault a new visitor of every partition is served after %v", calm.Round(time.Millisecond))
	menu, err := narrowed(s.menu, o.Only)
	if err != nil {
		return nil, 0, nil, err
	}
	schedule := fault.NewSchedule(o.Seed, menu, 300*time.Millisecond, 3*time.Second)
	end := time.Now().Add(o.Max)
	for range o.Faults {
		f := schedule.Next()
		if !run.Sleep(ctx, f.After) {
			return nil, 0, nil, ctx.Err()
		}
		if time.Now().After(end) {
			say("no time is left for more faults")
			break
		}
		ended, err := s.strike(ctx, f)
		if err != nil {
			problems = append(problems, fmt.Sprintf("fault %v: %v", f, err))
		}
		took, err := probe.recovery(ctx, ended)
		if err != nil {
			return nil, 0, nil, fmt.Errorf("after fault %v: %w", f, err)
		}
		recovered = append(recovered, took)
		counts[string(f.Kind)+" "+sortOf(f.Target)]++
		say("%v: back after %v", f, took.Round(time.Millisecond))
		problems = append(problems, s.revive(ctx)...)
	}
	return recovered, calm, problems, nil
}

// narrowed is what of the menu the expression names, all of it if it is empty.
func narrowed(menu []fault.Choice, only string) ([]fault.Choice, error) {
	named, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	var left []fault.Choice
	for _, c := range menu {
		c.Targets = slices.DeleteFunc(slices.Clone(c.Targets), func(target string) bool { return !named.MatchString(string(c.Kind) + " " + target) })
		if len(c.Targets) > 0 {
			left = append(left, c)
		}
	}
	if len(left) == 0 {
		return nil, fmt.Errorf("-only %s: no fault is named so", only)
	}
	return left, nil
}

// sortOf is a target without its number: "filter-1" → "filter", "ranker-0:kafka" → "ranker:kafka".
func sortOf(target string) string {
	name, part, found := strings.Cut(target, ":")
	name = strings.TrimRight(name, "-0123456789")
	if found {
		return name + ":" + part
	}
	return name
}

// strike does what the fault says and returns when it ended. The error is that the system did not take it as it must.
func (s *system) strike(ctx context.Context, f fault.Fault) (ended time.Time, err error) {
	if i, ok := strings.CutPrefix(f.Target, "broker-"); ok {
		return s.strikeBroker(ctx, f, i)
	}
	n, part := s.node(f.Target)
	if n == nil {
		return time.Now(), errors.New("there is no such node")
	}
	switch f.Kind {
	case fault.Kill, fault.KillTwice, fault.Terminate:
		return s.restart(ctx, n, f)
	case fault.Pause:
		err = n.process.Pause()
		run.Sleep(ctx, f.For)
		return time.Now(), errors.Join(err, n.process.Resume())
	default:
		for _, p := range n.proxies(part) {
			disturb(p, f.Kind)
		}
		run.Sleep(ctx, f.For)
		for _, p := range n.proxies(part) {
			p.Heal()
		}
		return time.Now(), nil
	}
}

func disturb(p *fault.Proxy, kind fault.Kind) {
	switch kind {
	case fault.Cut:
		p.Refuse(true)
	case fault.Stall:
		p.Stall(true)
	case fault.Slow:
		p.Delay(200 * time.Millisecond)
	}
}

// restart ends a process one way or another and starts it again. The fault ends with the last start.
func (s *system) restart(ctx context.Context, n *node, f fault.Fault) (ended time.Time, err error) {
	if f.Kind == fault.Terminate {
		stopping, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err = n.process.Terminate(stopping); err != nil && n.process.Running() {
			err = errors.Join(err, n.process.Kill())
		}
	} else {
		err = n.process.Kill()
	}
	if f.Kind == fault.KillTwice {
		if err := n.process.Start(); err != nil {
			return time.Now(), err
		}
		run.Sleep(ctx, f.For)
		if err := n.process.Kill(); err != nil {
			return time.Now(), err
		}
	}
	ended = time.Now()
	return ended, errors.Join(err, n.begin(ctx))
}

// strikeBroker pauses a broker, or ends it and starts it again, after the fault's time.
func (s *system) strikeBroker(ctx context.Context, f fault.Fault, number string) (ended time.Time, err error) {
	i, err := strconv.Atoi(number)
	if err != nil {
		return time.Now(), err
	}
	switch f.Kind {
	case fault.Pause:
		err = s.brokers.Pause(i)
		run.Sleep(ctx, f.For)
		return time.Now(), errors.Join(err, s.brokers.Continue(i))
	case fault.Terminate:
		err = s.brokers.Shutdown(i)
	default:
		err = s.brokers.Kill(i)
	}
	run.Sleep(ctx, f.For)
	return time.Now(), errors.Join(err, s.brokers.Restart(i))
}

// revive starts what has ended by itself, as a supervisor does, and tells it: no fault may end a process.
func (s *system) revive(ctx context.Context) (problems []string) {
	for _, n := range s.nodes {
		if n.process.Running() {
			continue
		}
		problems = append(problems, fmt.Sprintf("%s ended by itself in its life %d", n.process.Name(), n.process.Lives()))
		if err := n.begin(ctx); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}

// probe makes new visitors, one in every partition.
type probe struct {
	*load
	partitions  int32
	partitionOf func(visitor string) int32
	next        int
}

func newProbe(s *system, l *load) *probe {
	return &probe{load: l, partitions: s.parts, partitionOf: func(visitor string) int32 {
		key := s.ring.LogKey("a:" + visitor)
		return stream.PartitionOf(key[:], s.parts)
	}}
}

// visitors are names of one new visitor for each partition.
func (p *probe) visitors() []string {
	names := make([]string, p.partitions)
	for found := 0; found < len(names); p.next++ {
		name := fmt.Sprintf("probe-%d", p.next)
		if at := p.partitionOf(name); names[at] == "" {
			names[at] = name
			found++
		}
	}
	return names
}

// recovery waits until every partition works again and returns how long that took from since.
func (p *probe) recovery(ctx context.Context, since time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, recoverTime)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, p.partitions)
	for i, name := range p.visitors() {
		wg.Go(func() { errs[i] = p.personal(ctx, name) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return 0, fmt.Errorf("partition %d does not work again after %v: %w", i, recoverTime, err)
		}
	}
	return time.Since(since), nil
}

// personal returns when a new visitor gets a personal answer.
func (p *probe) personal(ctx context.Context, visitor string) error {
	var written struct{ Revision string }
	policy := fixed(`{"version":%q,"accepted":true,"jurisdiction":"CN"}`, p.policy)
	if err := p.until(ctx, client.ServerKey, http.MethodPut, "/v1/visitors/"+visitor+"/policy", policy, &written); err != nil {
		return fmt.Errorf("accepting the policy: %w", err)
	}
	captured := time.Now().UTC().Format(time.RFC3339Nano)
	event := fixed(`{"id":"probe","type":"view_item","time":%q,"anonymous_id":%q,"channel":"web","items":[{"item_id":"item-1"}],"consent":{"revision":%q}}`, captured, visitor, written.Revision)
	if err := p.until(ctx, client.ServerKey, http.MethodPost, "/v1/events", event, nil); err != nil {
		return fmt.Errorf("sending an event: %w", err)
	}
	for {
		var said struct{ Personalized bool }
		if err := p.until(ctx, client.ServerKey, http.MethodPost, "/v1/recommendations", fixed(`{"surface":"home","anonymous_id":%q,"limit":5}`, visitor), &said); err != nil {
			return fmt.Errorf("asking for a ranking: %w", err)
		}
		if said.Personalized {
			return nil
		}
		run.Sleep(ctx, 20*time.Millisecond)
	}
}
