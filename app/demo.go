package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sluice/demo/shop"
	"sluice/internal/admission"
	"sluice/internal/broker"
	"sluice/internal/seal"
	"sluice/internal/stream"
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
	if len(d.Keys.Server) == 0 {
		return nil, c.asked("keys").Errorf(".server", "must hold a key: the demo's pages and shoppers call the API with it")
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

// fillShop loads the demo's catalogue and lets the simulated shoppers in.
func (n *Node) fillShop(ctx context.Context) error {
	base, key := n.url(), n.deployment.Keys.Server[0]
	if err := shop.Load(ctx, base, key, n.transport()); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	close(n.shopLoaded)
	shoppers, err := shop.NewShoppers(shop.Options{BaseURL: base, ServerKey: key, Transport: n.transport(), N: n.demo.Shoppers, Seed: uint64(time.Now().UnixNano()), Logger: n.logger})
	if err != nil {
		return err
	}
	n.shoppers.Store(shoppers)
	return shoppers.Run(ctx)
}
