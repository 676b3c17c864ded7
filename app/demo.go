package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sluice/demo/shop"
	"sluice/demo/web"
	"sluice/internal/admission"
	"sluice/internal/broker"
	"sluice/internal/seal"
	"sluice/internal/stream"

	"golang.org/x/sync/errgroup"
)

// DemoOptions are what a demo has beside its configuration.
type DemoOptions struct {
	Options
	Listen   string // host:port; port 0 picks a free one
	Data     string // directory; empty = the configuration's, else a folder in the user's cache directory
	Shop     bool   // fill the catalogue, and let the shoppers in
	Shoppers int    // simulated
	Reset    bool   // forget everything in the data directory
}

// NewDemo makes a node with every role on an embedded broker. A *UsageError or a *config.Error tells what is wrong with the options or the file.
func NewDemo(c *Config, o DemoOptions) (*Node, error) {
	if !listenable(o.Listen) {
		return nil, &UsageError{fmt.Errorf("--listen %s: %s", o.Listen, listenText)}
	}
	d, r, err := c.load()
	if err != nil {
		return nil, err
	}
	if d.Keys.none() {
		d.Keys.Write, d.Keys.Server, d.Keys.Operator = demoKeys.Write, demoKeys.Server, demoKeys.Operator
	}
	if err := refuseDemoKeys(d.Keys, o.Listen); err != nil {
		return nil, err
	}
	d.Server.Listen = o.Listen
	if o.Data != "" {
		d.Server.Data = o.Data
	}
	if d.Server.Data == "" {
		if d.Server.Data, err = defaultDataDir(); err != nil {
			return nil, err
		}
	}
	n := newNode(c, d, r, allRoles(), o.Options)
	n.demo = &o
	return n, nil
}

func defaultDataDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a data directory: %w; name one with --data", err)
	}
	return filepath.Join(cache, "sluice"), nil
}

// openBroker starts the embedded broker, and makes the demo's own key at the first start.
func (n *Node) openBroker(opened *closer) (err error) {
	d := n.deployment
	if n.broker, err = broker.Start(broker.Options{Dir: n.data.join("broker"), Sync: d.Kafka.Fsync, Partitions: d.Kafka.Partitions}); err != nil {
		return err
	}
	opened.add(func() error { n.broker.Close(); return nil })
	n.cluster = n.broker.Cluster(d.Kafka.Prefix)
	n.cluster.Feed, n.cluster.Lane = stream.NewFeed(), admission.NewLane(0)
	if d.Server.RootKey == "" {
		d.Server.RootKey, err = makeKey(n.data)
	}
	return err
}

// makeKey is the file of the demo's own root key, made at the first start.
func makeKey(data *dataDir) (string, error) {
	path := data.join("keys", "root.key")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("making the key directory: %w", err)
	}
	if err := seal.Create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return path, nil
}

// hasShop tells whether the node brings a shop of its own.
func (n *Node) hasShop() bool { return n.demo != nil && n.demo.Shop }

// fillShop loads the demo's catalogue, and lets the simulated shoppers in while the shop's past is replayed.
func (n *Node) fillShop(ctx context.Context) error {
	o := shop.Options{BaseURL: n.url(), ServerKey: n.key, Transport: n.transport(), N: n.demo.Shoppers, Seed: uint64(time.Now().UnixNano()), Logger: n.logger}
	if err := shop.Load(ctx, o.BaseURL, o.ServerKey, o.Transport); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	close(n.shopLoaded)
	marks := &pastMarks{data: n.data}
	if err := marks.read(); err != nil {
		return err
	}
	o.Until, o.Visited = marks.mark.Until, marks.mark.Shoppers
	o.Sent = func(shoppers int) error { return marks.note(func(m *pastMark) { m.Shoppers = shoppers }) }
	shoppers, err := shop.NewShoppers(o)
	if err != nil {
		return err
	}
	n.crowd.shoppers.Store(shoppers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.replayPast(ctx, o, marks) })
	group.Go(func() error { return shoppers.Run(ctx) })
	return group.Wait()
}

// pastFile says in a data directory when the past ends, whether all of the shop's is there, and how many shoppers have theirs: each is sent once.
const pastFile = "past.json"

type pastMark struct {
	Until    time.Time `json:"until"`
	Done     bool      `json:"done"`
	Shoppers int       `json:"shoppers"`
}

// pastMarks keeps the mark in its file.
type pastMarks struct {
	mu   sync.Mutex // guards mark once others may note
	mark pastMark
	data *dataDir
}

// replayPast replays the shop's past into a new data directory, or goes on with one that was broken off.
func (n *Node) replayPast(ctx context.Context, o shop.Options, marks *pastMarks) error {
	done := false
	if err := marks.note(func(m *pastMark) { done = m.Done }); err != nil {
		return err
	}
	past, err := shop.NewPast(o, o.Until)
	if err != nil {
		return err
	}
	n.crowd.past.Store(&replayedPast{past: past, done: done})
	if done {
		return nil
	}
	if err := past.Run(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	n.crowd.past.Store(&replayedPast{past: past, done: true})
	return marks.note(func(m *pastMark) { m.Done = true })
}

// read reads the mark; a directory without one has a past that ends now.
func (p *pastMarks) read() error {
	data, err := os.ReadFile(p.data.join(pastFile))
	if errors.Is(err, fs.ErrNotExist) {
		p.mark.Until = time.Now().UTC()
		return p.note(func(*pastMark) {}) // before anything of it is sent
	}
	if err == nil {
		err = json.Unmarshal(data, &p.mark)
	}
	if err != nil {
		return fmt.Errorf("reading how far the shop's past is replayed: %w", err)
	}
	return nil
}

// note changes the mark and writes it.
func (p *pastMarks) note(change func(*pastMark)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.mark)
	data, err := json.Marshal(p.mark)
	if err != nil {
		return err
	}
	return p.data.write(pastFile, string(data)+"\n")
}

// crowd is who else is in the demo's shop, as its pages say it; also before anybody is.
type crowd struct {
	shoppers atomic.Pointer[shop.Shoppers]
	past     atomic.Pointer[replayedPast]
}

type replayedPast struct {
	past *shop.Past
	done bool // already when the node started, or by now
}

// Crowd is the present state.
func (c *crowd) Crowd() (now web.Crowd) {
	if s := c.shoppers.Load(); s != nil {
		now.Shoppers, now.OptedOut = s.N(), s.OptedOut()
	}
	if p := c.past.Load(); p != nil {
		now.Orders, now.Replayed, now.Behind = p.past.Orders(), p.past.Replayed(), !p.done
	}
	return now
}

// demoCards are what a visitor of the demo can pay with.
var demoCards = []web.Card{
	{Name: "own", Label: "A card of your own"},
	{Name: "stolen", Label: "A stolen card that others try out, too", Token: shop.StolenCard},
}
