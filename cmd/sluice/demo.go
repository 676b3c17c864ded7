package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"sluice/demo/shop"
	"sluice/internal/broker"
	"sluice/internal/seal"
	"sluice/internal/stream"
)

type demoCmd struct {
	Listen   string `help:"host:port to listen on; port 0 picks a free one." default:"127.0.0.1:8080"`
	Data     string `help:"Data directory; a folder in the user's cache directory by default." type:"path"`
	Shop     string `help:"Demo shop: retail or none." enum:"retail,none" default:"retail"`
	Shoppers count  `help:"Simulated shoppers; 0 turns them off." default:"60"`
	Config   string `help:"Configuration file; its sections replace the built-in ones." type:"path"`
	Reset    bool   `help:"Start over: forget everything in the data directory."`
}

// count is a number from 0. Anything else on the command line makes it negative, also what kong would take for a flag ("-1"): Run tells what was expected.
type count int

// Decode reads the flag's value.
func (n *count) Decode(ctx *kong.DecodeContext) error {
	read, err := strconv.Atoi(ctx.Scan.Pop().String())
	if err != nil {
		read = -1
	}
	*n = count(read)
	return nil
}

// Run runs every role in one process, on the embedded broker.
func (c *demoCmd) Run(env *environment) error {
	if c.Shoppers < 0 {
		return usageError{errors.New("--shoppers: a number from 0 expected")}
	}
	if !listenable(env, c.Listen) {
		return usageError{fmt.Errorf("--listen %s: %s", c.Listen, listenText)}
	}
	settings, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	d, err := loadDeployment(settings)
	if err != nil {
		return err
	}
	if !settings.custom["keys"] {
		d.Keys = demoKeys
	}
	if err := refuseDemoKeys(d.Keys, c.Listen); err != nil {
		return err
	}
	if c.Data == "" {
		c.Data = d.Server.Data
	}
	if c.Data == "" {
		if c.Data, err = defaultDataDir(); err != nil {
			return err
		}
	}
	listener, err := listen(env, c.Listen)
	if err != nil {
		return err
	}
	data, err := openDataDir(c.Data, c.Reset)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer data.Close()
	kafka, err := broker.Start(broker.Options{Dir: data.join("broker"), Sync: d.Kafka.Fsync})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer kafka.Close()
	d.Server.Listen = listener.Addr().String()
	if d.Server.RootKey == "" {
		if d.Server.RootKey, err = makeKey(data); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	s := &server{
		settings: settings, deployment: d, data: data, listener: listener, roles: allRoles(), env: env, broker: kafka,
		cluster: stream.Cluster{Brokers: kafka.Addrs(), Prefix: d.Kafka.Prefix},
		logger:  newLogger(env.stderr),
	}
	if c.Shop == "retail" {
		s.background = append(s.background, func(ctx context.Context) error { return s.fillShop(ctx, int(c.Shoppers)) })
	}
	return s.run(env)
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

// fillShop loads the demo's catalogue and lets the simulated shoppers in.
func (s *server) fillShop(ctx context.Context, n int) error {
	base, key := "http://"+s.deployment.Server.Listen, s.deployment.Keys.Server[0]
	if err := shop.Load(ctx, base, key); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	close(s.shopLoaded)
	shoppers, err := shop.NewShoppers(shop.Options{BaseURL: base, ServerKey: key, N: n, Seed: uint64(time.Now().UnixNano()), Logger: s.logger})
	if err != nil {
		return err
	}
	s.shoppers.Store(shoppers)
	return shoppers.Run(ctx)
}

func defaultDataDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a data directory: %w; name one with --data", err)
	}
	return filepath.Join(cache, "sluice"), nil
}

const listenText = "host:port with a port from 0 to 65535 expected"

// listenable tells whether an address is host:port at all.
func listenable(ctx context.Context, address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
	}
	return err == nil
}

// listen opens the port before anything else starts: a port in use is told at once.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return listener, nil
}

// refuseDemoKeys keeps the well-known keys from being reachable from elsewhere. The address is listenable.
func refuseDemoKeys(keys keysConfig, address string) error {
	if !keys.holdsDemoKey() {
		return nil
	}
	host, _, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return usageError{fmt.Errorf("listening on %s: the demo's keys are refused on an address that is not loopback; set `keys:` in a file and give it with --config", address)}
}

func newLogger(w interface{ Write([]byte) (int, error) }) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
