package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/demo/shop"
	"sluice/internal/broker"
	"sluice/internal/seal"
	"sluice/internal/stream"
)

// Roles that a process can have. Any subset makes a server.
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

// server is one process with some of the roles. Make it, then call run once.
type server struct {
	settings   *effectiveConfig
	deployment *deployment
	cluster    stream.Cluster
	data       *dataDir
	listener   net.Listener
	roles      []string
	broker     *broker.Broker // the demo's own; nil on a cluster
	env        *environment
	logger     *slog.Logger
	linger     time.Duration                     // between the wish to stop and the end of listening
	background []func(ctx context.Context) error // run beside the roles, once requests are answered

	shopLoaded chan struct{}                 // closed once the demo's catalogue has been sent
	shoppers   atomic.Pointer[shop.Shoppers] // the demo's, once they are in
}

func (s *server) has(role string) bool { return slices.Contains(s.roles, role) }

// openKeys reads the root key that the configuration names. It never makes one: a node with a key of its own would split the deployment.
func (s *server) openKeys() (*seal.Keyring, error) {
	ring, err := seal.Open(s.deployment.Server.RootKey)
	if err != nil {
		return nil, s.settings.section("server").Errorf(".root_key", "%v; `sluice keys create FILE` makes the key of a new deployment, and every node needs the same one", err)
	}
	return ring, nil
}

// drainTime is how long requests under way may take after a stop was asked for.
const drainTime = 10 * time.Second

// run builds the roles' parts, serves until the environment's context ends or a part fails, and stops in order:
// requests first, then the parts, then what they stand on.
func (s *server) run(env *environment) (err error) {
	s.shopLoaded = make(chan struct{})
	p, err := s.build()
	if err != nil {
		return errors.Join(err, s.listener.Close())
	}
	defer func() { err = errors.Join(err, p.close()) }()

	parts, stopParts := context.WithCancel(context.WithoutCancel(env))
	defer stopParts()
	group, failed := errgroup.WithContext(parts)
	for _, part := range p.running {
		group.Go(func() error { return part(failed) })
	}
	for _, task := range s.background {
		group.Go(func() error { return task(failed) })
	}
	web := s.httpServer(p)
	served := make(chan error, 1)
	go func() { served <- web.Serve(s.listener) }()
	group.Go(func() error { return s.announce(failed, p) })

	select {
	case <-env.Done():
	case <-failed.Done():
	case err = <-served:
	}
	s.leave(failed, p)
	return errors.Join(err, s.drain(web), s.end(stopParts, group))
}

// leave says on /readyz that this process is going, and goes on answering until load balancers have noticed.
func (s *server) leave(failed context.Context, p *parts) {
	p.ready.leaving.Store(true)
	if failed.Err() != nil {
		return
	}
	select {
	case <-failed.Done():
	case <-time.After(s.linger):
	}
}

// drain lets requests under way finish.
func (s *server) drain(web *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := web.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return web.Close() // they had their time
	}
	return err
}

// end stops the parts and waits for them; a part's own failure is the error.
func (s *server) end(stop context.CancelFunc, group *errgroup.Group) error {
	stop()
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// requestTime bounds every request: a settings write may wait 10 s to be obeyed everywhere, a bulk request takes as long as its body.
const requestTime = time.Minute

func (s *server) httpServer(p *parts) *http.Server {
	return &http.Server{
		Handler:           measured(p.api, p.registry, s.logger),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       requestTime,
		WriteTimeout:      requestTime + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(s.env) },
	}
}

// announce prints where the server is, once it is ready.
func (s *server) announce(ctx context.Context, p *parts) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for p.ready.state().Status != ready {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	base := "http://" + s.deployment.Server.Listen
	fmt.Fprintf(s.env.stdout, "ready %s data=%s\n", base, s.data.path)
	if s.broker != nil {
		fmt.Fprint(s.env.stdout, demoCommands(base, p.register.PolicyVersion()))
	}
	return nil
}

// demoCommands are what a newcomer may copy: a visitor who accepts, looks at something, gets a personal list, and switches it off.
func demoCommands(base, policy string) string {
	return strings.NewReplacer("BASE", base, "POLICY", policy).Replace(`
  the shop          BASE/
  settings          BASE/settings/privacy
  the API           BASE/openapi.json
  metrics           curl -s -H 'Authorization: Bearer demo_operator' BASE/metrics

  # a visitor accepts the policy; events echo the revision that this gives
  S='Authorization: Bearer demo_server'; J='Content-Type: application/json'
  R=$(curl -s -X PUT BASE/v1/visitors/me/policy -H "$S" -H "$J" -d '{"version":"POLICY","accepted":true}' | sed 's/.*"revision":"\([^"]*\)".*/\1/'); echo "revision $R"
  # … looks at an item
  curl -s BASE/v1/events -H "$S" -H "$J" -d '{"id":"'$(date +%s%N)'","type":"view_item","time":"'$(date -u +%FT%TZ)'",
      "anonymous_id":"me","channel":"web","items":[{"item_id":"85123A"}],"consent":{"revision":"'$R'"}}'
  # … gets recommendations made from it a moment later, each with its reason
  rank() { curl -s BASE/v1/recommendations -H "$S" -H "$J" -d '{"surface":"home","anonymous_id":"me","limit":5}' | tr '{}' '\n\n' |
      sed -n 's|.*"personalized":\([a-z]*\).*|personalized: \1|p; s|^"item_id":"\([^"]*\)","score.*|BASE/shop/items/\1|p; s|^"code.*"text":"\(.*\)"$|    \1|p'; }; rank
  # … and switches them off: now they are everyone's
  curl -s -X PUT BASE/v1/visitors/me/consent/personalize -H "$S" -H "$J" -d '{"decision":"deny"}'; rank

`)
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

// nodeName is the process's stable name.
func (s *server) nodeName() (string, error) {
	if s.deployment.Server.Node != "" {
		return s.deployment.Server.Node, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("naming this node: %w; set server.node", err)
	}
	return name, nil
}
