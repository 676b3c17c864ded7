// Package app puts the rooms together: a Node is one process with some of the roles, and runs until its context ends.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/broker"
	"sluice/internal/httpx"
	"sluice/internal/seal"
	"sluice/internal/stream"
)

// Roles that a process can have. Any subset makes a node.
const (
	roleCollector = "collector" // events, settings, catalogue and dead letters come in
	roleFilter    = "filter"    // the consent filter
	roleFeatures  = "features"  // the feature engines
	roleRanker    = "ranker"    // recommendations, similar items, lists
	roleRisk      = "risk"      // decisions
	roleWarehouse = "warehouse" // rows for analysis
	roleWeb       = "web"       // the demo's pages
)

func allRoles() []string {
	return []string{roleCollector, roleFilter, roleFeatures, roleRanker, roleRisk, roleWarehouse, roleWeb}
}

// Options of a node, beside its configuration.
type Options struct {
	Version string         // as the API's description tells it
	Stderr  io.Writer      // for the log
	Ready   func(*Started) // called once the node is ready; nil = nobody waits for it
}

// Started tells where a node is.
type Started struct {
	URL    string
	Broker string // host:port of the embedded broker, empty on a cluster
	Data   string // directory
	Policy string // version of the policy in force
}

// Node is one process with some of the roles. New and NewDemo make one; call Run once.
type Node struct {
	Options
	config      *Config
	deployment  *deployment
	rooms       *rooms
	began       time.Time
	started     bool         // it has told of its start
	certificate *certificate // of the listener; nil: it speaks plain HTTP
	key         string       // with which its own pages and shoppers call its API; nobody else knows it
	roles       []string
	demo        *DemoOptions // nil on a cluster
	logger      *slog.Logger

	// What open opens.
	cluster  stream.Cluster
	listener *listener
	data     *dataDir
	broker   *broker.Broker // the demo's own; nil on a cluster

	shopLoaded chan struct{} // closed once the demo's catalogue has been sent
	crowd      crowd         // in the demo's shop
}

func newNode(c *Config, d *deployment, r *rooms, roles []string, o Options) *Node {
	return &Node{Options: o, config: c, deployment: d, rooms: r, roles: roles, logger: d.Log.logger(o.Stderr), key: rand.Text(), shopLoaded: make(chan struct{})}
}

// keys are those that the API takes: the configured ones, and the node's own.
func (n *Node) keys() *httpx.Keys {
	keys := n.deployment.Keys.keys()
	keys.Add(httpx.HashKey(n.key), httpx.Grant{Role: httpx.RoleServer})
	return keys
}

func (n *Node) has(role string) bool { return slices.Contains(n.roles, role) }

// openKeys reads the root key that the configuration names. It never makes a key: a node with its own key could not read what the others write.
func (n *Node) openKeys() (*seal.Keyring, error) {
	ring, err := seal.Open(n.deployment.Server.RootKey)
	if err != nil {
		return nil, n.config.Section("server").Errorf(".root_key", "%v; `sluice keys create FILE` makes the key of a new deployment, and every node needs the same one", err)
	}
	return ring, nil
}

// openCertificate reads the listener's certificate, if it has one.
func (n *Node) openCertificate() (err error) {
	if n.certificate, err = openCertificate(n.deployment.Server.TLS, n.logger); err != nil {
		return n.config.Section("server").Errorf(".tls", "%v", err)
	}
	return nil
}

// Run opens what the node stands on, builds its parts, serves until the context ends or a part fails, and stops in order: requests first, then the
// parts, then what they stand on.
func (n *Node) Run(ctx context.Context) (err error) {
	n.began = time.Now()
	var opened closer
	defer func() { err = errors.Join(err, opened.close()) }()
	opened.add(n.tellEnd)
	opened.add(n.watchMemory(ctx)) // first: the broker reads its files when it is opened
	p, err := n.start(ctx, &opened)
	if err != nil && ctx.Err() != nil {
		n.logger.Debug("the node was asked to stop while it was starting", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	return n.serve(ctx, p)
}

// start opens what the node stands on and builds its parts.
func (n *Node) start(ctx context.Context, opened *closer) (*parts, error) {
	if err := n.open(ctx, opened); err != nil {
		return nil, err // told in one line
	}
	n.tellStart()
	p, err := n.build(ctx)
	if err != nil {
		return nil, err
	}
	opened.add(p.close)
	return p, nil
}

// watchMemory keeps the process to its memory until stop is called.
func (n *Node) watchMemory(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { keepMemory(ctx, n.deployment.Server.Memory<<20) })
	return func() error {
		cancel()
		watching.Wait()
		return nil
	}
}

// open takes the port and the data directory before anything else starts, so that a conflict is told at once.
func (n *Node) open(ctx context.Context, opened *closer) (err error) {
	if n.demo == nil {
		if err := n.checkTopics(ctx); err != nil {
			return err
		}
	}
	if err := n.openCertificate(); err != nil {
		return err
	}
	if n.listener, err = listen(ctx, n.deployment.Server.Listen, n.deployment.Server.Connections); err != nil {
		if n.demo != nil && errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w; --listen 127.0.0.1:0 takes a free port", err)
		}
		return err
	}
	opened.add(func() error { _ = n.listener.Close(); return nil }) // the HTTP server closes it, where there is one
	n.deployment.Server.Listen = n.listener.Addr().String()
	if n.data, err = openDataDir(n.deployment.Server.Data, n.demo != nil && n.demo.Reset, n.Stderr); err != nil {
		return err
	}
	opened.add(n.data.Close)
	if n.demo == nil {
		return nil
	}
	return n.openBroker(opened)
}

// drainTime is how long requests under way may take after a stop was asked for.
const drainTime = 10 * time.Second

// serve runs the parts and answers requests.
func (n *Node) serve(ctx context.Context, p *parts) (err error) {
	parts, stopParts := context.WithCancel(context.WithoutCancel(ctx))
	defer stopParts()
	group, failed := errgroup.WithContext(parts)
	for _, part := range p.running {
		group.Go(func() error { return part(failed) })
	}
	web := n.httpServer(ctx, p)
	served := make(chan error, 1)
	go func() { served <- n.serveHTTP(web) }()
	group.Go(func() error { return n.announce(failed, p) })

	select {
	case <-ctx.Done():
	case <-failed.Done():
	case err = <-served:
	}
	n.tellStop(ctx, failed)
	n.leave(failed, p)
	return errors.Join(err, drain(web), end(stopParts, group))
}

// leave makes /readyz say that this process stops. It goes on answering until load balancers have noticed.
func (n *Node) leave(failed context.Context, p *parts) {
	p.ready.leaving.Store(true)
	if failed.Err() != nil || n.demo != nil {
		return
	}
	select {
	case <-failed.Done():
	case <-time.After(n.deployment.Server.linger):
	}
}

// drain lets requests under way finish.
func drain(web *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := web.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return web.Close() // they had their time
	}
	return err
}

// end stops the parts and waits for them; a part's own failure is the error.
func end(stop context.CancelFunc, group *errgroup.Group) error {
	stop()
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// requestTime bounds every request: a settings write may wait 10 s to be obeyed everywhere, a bulk request takes as long as its body.
const requestTime = time.Minute

func (n *Node) httpServer(ctx context.Context, p *parts) *http.Server {
	front := &httpx.Front{Timeout: n.rooms.collector.Timeout, Origins: n.deployment.Keys.origins(n.rooms.collector.Origins), Local: n.deployment.Keys.holdsDemoKey(), Crowded: n.listener.crowded}
	return &http.Server{
		Handler:           measured(p.api, front, p.registry, n.logger),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
}

// announce tells where the node is, once it is ready.
func (n *Node) announce(ctx context.Context, p *parts) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for p.ready.state().Status != ready {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	n.logger.Info("the node is ready", "url", n.url(), "after", since(n.began))
	if n.Ready != nil {
		n.Ready(n.place(p))
	}
	return nil
}

// url is where the node is reached from this machine.
func (n *Node) url() string {
	if n.certificate != nil {
		return "https://" + n.deployment.Server.Listen
	}
	return "http://" + n.deployment.Server.Listen
}

// serveHTTP serves until the server is shut down, in the clear or with TLS.
func (n *Node) serveHTTP(web *http.Server) error {
	if n.certificate == nil {
		return web.Serve(n.listener)
	}
	web.TLSConfig = n.certificate.serverConfig()
	return web.ServeTLS(n.listener, "", "")
}

// transport reaches this process's own address, whatever name its certificate has; nil without TLS.
func (n *Node) transport() http.RoundTripper {
	if n.certificate == nil {
		return nil
	}
	return n.certificate.transport()
}

// closer undoes what was opened, last first.
type closer struct {
	mu     sync.Mutex // guards closes
	closes []func() error
}

func (c *closer) add(close func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closes = append(c.closes, close)
}

func (c *closer) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for _, closeOne := range slices.Backward(c.closes) {
		err = errors.Join(err, closeOne())
	}
	c.closes = nil
	return err
}

// name is the process's stable name.
func (n *Node) name() (string, error) {
	if n.deployment.Server.Node != "" {
		return n.deployment.Server.Node, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("naming this node: %w; set server.node", err)
	}
	return name, nil
}
