// Package flood attacks a node with its public key: strangers by the ten thousand accept the policy and look at one item, and thousands of settings writes are on
// their way at any moment, from many addresses and from one. Meanwhile people who were there before switch personalization off, with the same key.
//
// Their opt-outs must be acknowledged in a tenth of a second (p99), none may be refused, memory and disk must stay bounded, and Trending must not move. It prints
// one JSON object; the exit code is 1 if one of these is broken.
package flood

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"sluice/internal/process"
	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// Command is the test and its flags.
type Command struct {
	run.Flags
	Config     string        `help:"Configuration file of the node; empty: what is built in." type:"path"`
	Identities int           `help:"New visitors that are tried in each phase." default:"50000"`
	Arrivals   int           `help:"New visitors who are trying at any moment." default:"1000"`
	Writes     int           `help:"Settings writes that are on their way at any moment." default:"2000"`
	Addresses  int           `help:"Addresses that the first phase comes from, of 127.0.0.0/8; the second one comes from one." default:"4000"`
	People     int           `help:"People who were there before, and opt out and in again." default:"64"`
	Max        time.Duration `help:"A phase ends after this time, whatever was reached." default:"4m"`
	P99        time.Duration `help:"What the p99 of opt-outs may be." default:"100ms"`
	Memory     float64       `help:"By how many megabytes the process may grow in a phase." default:"400"`
	Disk       float64       `help:"By how many megabytes its directory may grow in a phase." default:"400"`
}

// result is what one run found.
type result struct {
	run.Head
	Seed   uint64   `json:"seed"`
	Phases []*phase `json:"phases"`

	Problems []string `json:"problems"` // broken promises, in words
}

// Wrong tells whether a promise is broken.
func (r *result) Wrong() bool { return len(r.Problems) > 0 }

// phase is what was seen while people opted out under one load.
type phase struct {
	Name      string  `json:"name"`
	Addresses int     `json:"addresses"`
	Seconds   float64 `json:"seconds"`

	Tried    int64            `json:"identities_tried"`
	Accepted int64            `json:"identities_accepted"`
	Events   int64            `json:"events_accepted"`
	Writes   int64            `json:"settings_writes"`
	Answers  map[string]int64 `json:"answers"` // to the flood, by status and code

	OptOuts run.Spread `json:"opt_outs"`
	NOptOut int        `json:"opt_outs_acknowledged"`
	Refused int64      `json:"opt_outs_refused"`
	Failed  string     `json:"first_refusal,omitempty"`

	Before usage    `json:"before"`
	After  usage    `json:"after"`
	PerNew usage    `json:"per_identity_kb"` // growth by accepted identity
	List   []string `json:"trending_before"`
	Later  []string `json:"trending_after"`
}

// usage is what the node takes, in megabytes.
type usage struct {
	Memory float64 `json:"memory_mb"`
	Peak   float64 `json:"peak_memory_mb,omitempty"`
	Disk   float64 `json:"disk_mb"`
}

// node is the process under attack.
type node struct {
	*process.Process
	url, data, policy string
	api               *client.Client
}

// Run starts the node and floods it.
func (o *Command) Run(ctx context.Context) error {
	return o.Do(ctx, func(ctx context.Context, say run.SayFunc) (_ run.Result, err error) {
		n, err := o.start(ctx)
		if err != nil {
			return nil, fmt.Errorf("starting: %w", err)
		}
		defer func() { err = errors.Join(err, n.Terminate(context.WithoutCancel(ctx))) }()
		r := &result{Head: run.NewHead(ctx), Seed: o.Seed}
		people, err := n.furnish(ctx, o.People)
		if err != nil {
			return nil, fmt.Errorf("filling the shop: %w", err)
		}
		say("the shop is open; %d people know it", len(people))
		for _, of := range []struct {
			name      string
			addresses int
		}{{"calm", 0}, {"many addresses", o.Addresses}, {"one address", 1}} {
			p, err := o.phase(ctx, n, of.name, of.addresses, people, say)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", of.name, err)
			}
			r.Phases = append(r.Phases, p)
			r.Problems = append(r.Problems, o.judge(p)...)
			say("%s: opt-outs p50 %.1f ms, p99 %.1f ms, %d refused; %d of %d identities taken; memory %+.0f MB, disk %+.0f MB", p.Name, p.OptOuts.P50, p.OptOuts.P99, p.Refused,
				p.Accepted, p.Tried, p.After.Memory-p.Before.Memory, p.After.Disk-p.Before.Disk)
		}
		return r, nil
	})
}

// patience is how long a client waits.
const patience = 20 * time.Second

func (o *Command) start(ctx context.Context) (*node, error) {
	n := &node{data: filepath.Join(o.Dir, "data")}
	args := []string{"demo", "--listen", "127.0.0.1:0", "--data", n.data, "--shop", "none", "--shoppers", "0"}
	if o.Config != "" {
		args = append(args, "--config", o.Config)
	}
	n.Process = process.New(process.Options{Name: "node", Path: o.Sluice, Args: args, Log: filepath.Join(o.Dir, "node.log")})
	if err := n.Start(); err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var err error
	if n.url, err = n.Ready(starting); err != nil {
		return nil, errors.Join(err, n.Kill())
	}
	n.api = client.New(n.url, nil, patience)
	if n.policy, err = n.api.Policy(starting); err != nil {
		return nil, errors.Join(err, n.Kill())
	}
	return n, nil
}

// phase lets people opt out, under a flood from so many addresses; none: in peace.
func (o *Command) phase(ctx context.Context, n *node, name string, addresses int, people []string, say run.SayFunc) (*phase, error) {
	p := &phase{Name: name, Addresses: addresses}
	var err error
	if p.List, err = n.trending(ctx); err != nil {
		return nil, err
	}
	p.Before = n.usage()
	began := time.Now()
	flooding, stop := context.WithTimeout(ctx, o.Max)
	defer stop()
	f := newFlood(o, n, p, addresses)
	optouts := n.watch(flooding, people)
	if addresses > 0 {
		f.run(flooding, say)
	} else {
		run.Sleep(flooding, calmTime)
	}
	stop()
	p.OptOuts, p.NOptOut, p.Refused, p.Failed = optouts()
	f.wait()
	p.Seconds = time.Since(began).Seconds()
	settling, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := n.api.Settle(settling); err != nil {
		return nil, err
	}
	if addresses > 0 {
		run.Sleep(ctx, tick) // the list is made anew
	}
	if p.Later, err = n.trending(ctx); err != nil {
		return nil, err
	}
	p.After = n.usage()
	if p.Accepted > 0 {
		p.PerNew = usage{Memory: (p.After.Memory - p.Before.Memory) * 1000 / float64(p.Accepted), Disk: (p.After.Disk - p.Before.Disk) * 1000 / float64(p.Accepted)}
	}
	return p, ctx.Err()
}

const (
	calmTime = 10 * time.Second
	tick     = 65 * time.Second // a little more than that of the lists
)

func (n *node) usage() usage {
	now, peak := process.Memory(n.PID())
	return usage{Memory: now, Peak: peak, Disk: process.DiskUsage(n.data) / 1e6}
}

// judge names the promises that the phase broke.
func (o *Command) judge(p *phase) (problems []string) {
	say := func(format string, args ...any) {
		problems = append(problems, p.Name+": "+fmt.Sprintf(format, args...))
	}
	if p.NOptOut < o.People {
		say("%d opt-outs were acknowledged, fewer than there are people", p.NOptOut)
	}
	if limit := float64(o.P99.Milliseconds()); p.OptOuts.P99 > limit {
		say("the p99 of opt-outs must be at most %.0f ms and is %.1f ms", limit, p.OptOuts.P99)
	}
	if p.Refused > 0 {
		say("%d opt-outs were refused, the first one with: %s", p.Refused, p.Failed)
	}
	if grown := p.After.Memory - p.Before.Memory; grown > o.Memory {
		say("memory grew by %.0f MB", grown)
	}
	if grown := p.After.Disk - p.Before.Disk; grown > o.Disk {
		say("the directory grew by %.0f MB", grown)
	}
	if !slices.Equal(p.List, p.Later) {
		say("trending moved from %v to %v", p.List, p.Later)
	}
	return problems
}
