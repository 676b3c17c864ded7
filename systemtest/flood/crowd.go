package flood

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// flood are those who come with the public key and mean ill.
type flood struct {
	o       *Command
	n       *node
	p       *phase
	running sync.WaitGroup
	names   atomic.Int64
	prefix  string

	mu      sync.Mutex // guards answers
	answers map[string]int64
}

func newFlood(o *Command, n *node, p *phase, addresses int) *flood {
	return &flood{o: o, n: n, p: p, answers: make(map[string]int64), prefix: fmt.Sprintf("%x-%d", o.Seed, addresses)}
}

// run returns when all identities were tried, or ctx ended. Settings writes go on until ctx ends.
func (f *flood) run(ctx context.Context, say run.SayFunc) {
	for i := range f.o.Writes {
		f.running.Go(func() { f.write(ctx, i) })
	}
	var arriving sync.WaitGroup
	for i := range f.o.Arrivals {
		arriving.Go(func() { f.arrive(ctx, i) })
	}
	done := make(chan struct{})
	go func() { arriving.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Second):
			say("%s: %d of %d identities tried, %d taken", f.p.Name, atomic.LoadInt64(&f.p.Tried), f.o.Identities, atomic.LoadInt64(&f.p.Accepted))
		}
	}
}

// wait returns when nobody floods any more.
func (f *flood) wait() {
	f.running.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.p.Answers = maps.Clone(f.answers)
}

// arrive lets one new visitor after the other accept the policy and look at the target, each few from the next address.
func (f *flood) arrive(ctx context.Context, at int) {
	const each = 8 // visitors of one connection
	for turn := at; ctx.Err() == nil; turn += f.o.Arrivals {
		api, done := f.from(turn)
		for range each {
			if atomic.AddInt64(&f.p.Tried, 1) > int64(f.o.Identities) {
				atomic.AddInt64(&f.p.Tried, -1)
				done()
				return
			}
			f.come(ctx, api)
		}
		done()
	}
}

func (f *flood) come(ctx context.Context, api *client.Client) {
	name := fmt.Sprintf("fresh-%s-%d", f.prefix, f.names.Add(1))
	if f.count(ctx, api.CallAs(ctx, client.WriteKey, http.MethodPut, "/v1/visitors/"+name+"/policy", accepts(f.n.policy), nil)) != nil {
		return
	}
	atomic.AddInt64(&f.p.Accepted, 1)
	var told struct{ Accepted int64 }
	body := append(view(name, target, 0), view(name, ghost, 1)...)
	if f.count(ctx, api.CallAs(ctx, client.WriteKey, http.MethodPost, "/v1/events", body, &told)) == nil {
		atomic.AddInt64(&f.p.Events, told.Accepted)
	}
}

// write sends one settings write after the other, of a stranger each, or all of one who accepted once and says no in a loop.
func (f *flood) write(ctx context.Context, at int) {
	api, done := f.from(at)
	defer done()
	var enrolled string
	for ctx.Err() == nil {
		name := cmp.Or(enrolled, fmt.Sprintf("noise-%s-%d", f.prefix, f.names.Add(1)))
		path, body := "/consent/personalize", `{"decision":"deny"}`
		switch at % 4 {
		case 1:
			body = `{"decision":"allow"}`
		case 2:
			path, body = "/blocks/item/item-1", ""
		case 3:
			if enrolled == "" {
				path, body = "/policy", string(accepts(f.n.policy))
			}
		}
		err := f.count(ctx, api.CallAs(ctx, client.WriteKey, http.MethodPut, "/v1/visitors/"+name+path, []byte(body), nil))
		if err == nil && path == "/policy" {
			enrolled = name
		}
		atomic.AddInt64(&f.p.Writes, 1)
	}
}

// count notes an answer.
func (f *flood) count(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return err
	}
	reason := "taken"
	if err != nil {
		reason = client.Reason(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[reason]++
	return err
}

// from is a client at one of the flood's addresses.
func (f *flood) from(n int) (api *client.Client, done func()) {
	n %= f.p.Addresses
	return at(f.n.url, net.IPv4(127, 1, byte(n>>8), byte(n)))
}

// at is a client at an address of its own. Many share few ports: the same port may be used towards the node from each address.
func at(url string, ip net.IP) (api *client.Client, done func()) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}, Timeout: patience, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		const bindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT: the port is chosen when it connects
		return errors.Join(c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, bindAddressNoPort, 1) }), err)
	}}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 2}
	return client.New(url, transport, patience), transport.CloseIdleConnections
}

// watch lets people opt out and in again until ctx ends, each from an address of their own. found waits for them and tells how long they waited.
func (n *node) watch(ctx context.Context, people []string) (found func() (spread run.Spread, acknowledged int, refused int64, first string)) {
	var (
		all     sync.WaitGroup
		mu      sync.Mutex // guards the fields below
		took    []time.Duration
		refused int64
		first   string
	)
	for i, name := range people {
		all.Go(func() {
			api, done := at(n.url, net.IPv4(127, 2, byte(i>>8), byte(i)))
			defer done()
			const pause = 2 * time.Second
			path := "/v1/visitors/" + name + "/consent/personalize"
			for run.Sleep(ctx, pause/4+pause*time.Duration(i)/time.Duration(len(people))) {
				began := time.Now()
				err := api.CallAs(context.WithoutCancel(ctx), client.WriteKey, http.MethodPut, path, []byte(`{"decision":"deny"}`), nil)
				waited := time.Since(began)
				mu.Lock()
				if err == nil {
					took = append(took, waited)
				} else {
					refused++
					if first == "" {
						first = err.Error()
					}
				}
				mu.Unlock()
				_ = api.CallAs(ctx, client.WriteKey, http.MethodPut, path, []byte(`{"decision":"allow"}`), nil) // to have something to refuse
			}
		})
	}
	return func() (run.Spread, int, int64, string) {
		all.Wait()
		return run.SpreadOf(took), len(took), refused, first
	}
}
