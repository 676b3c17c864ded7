package app

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/demo/shop"
	"sluice/demo/web"
	"sluice/features"
	"sluice/features/entity"
	"sluice/features/history"
	"sluice/features/profile"
	"sluice/features/record"
	"sluice/features/trending"
	"sluice/ingest"
	"sluice/ingest/collector"
	"sluice/ingest/deadletter"
	"sluice/ingest/inbound"
	"sluice/internal/admission"
	"sluice/internal/catalog"
	"sluice/internal/httpx"
	"sluice/internal/itemid"
	"sluice/internal/quota"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/filter"
	"sluice/privacyfilter/pseudonym"
	"sluice/privacyfilter/settings"
	"sluice/recommend"
	"sluice/risk"
)

// parts are everything that a process is made of, wired but not running.
type parts struct {
	*rooms
	closer
	node     *Node
	name     string // of the node, stable
	ring     *seal.Keyring
	keys     *pseudonym.Keys
	memory   *stream.Memory // of all engines' state
	registry *prometheus.Registry
	api      *httpx.API
	ready    *readiness
	doors    *admission.Controller
	quotas   *quota.Quotas
	running  []func(ctx context.Context) error

	consents  *consent.View
	tokens    *collector.Tokens
	log       *ingest.Log
	letters   *deadletter.Store
	collector *collector.Collector
	stores    map[string]*stream.Store // checkpoints of the engines that this process works, by their names
	runs      *filter.Runs
	backlog   *stream.Backlog
	ids       *itemid.Table // numbers of items, which catalogue, histories and rankings share
	catalogue *catalog.View
	followed  bool // catalogue is
	personal  *profile.View
	trending  *trending.View
	history   *history.View
	entities  *entity.View
}

// run adds a part that runs until its context ends.
func (p *parts) run(what string, part func(ctx context.Context) error) {
	p.running = append(p.running, func(ctx context.Context) error {
		if err := part(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	})
}

// follower is a view that is built by following a topic.
type follower interface {
	Run(ctx context.Context) error
	CaughtUp() <-chan struct{}
}

// follow adds a view; the process is ready once it has caught up.
func (p *parts) follow(what string, view follower) {
	p.run(what, view.Run)
	p.ready.add(what, closedCheck(view.CaughtUp(), "catching up"))
}

// build makes the parts of the node's roles.
func (n *Node) build(ctx context.Context) (*parts, error) {
	p := &parts{rooms: n.rooms, node: n, memory: stream.NewMemory(n.deployment.Server.State << 20), stores: make(map[string]*stream.Store), registry: newRegistry(), api: httpx.NewAPI(n.Version, n.keys()), ready: &readiness{roles: n.roles}}
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	for _, room := range []struct {
		role  string
		build func() error
	}{
		{roleFilter, p.buildFilter},
		{roleFeatures, p.buildFeatures},
		{roleCollector, p.buildCollector},
		{roleRanker, p.buildRanker},
		{roleRisk, p.buildRisk},
		{roleWarehouse, p.buildWarehouse},
		{roleWeb, p.buildWeb},
	} {
		if !n.has(room.role) {
			continue
		}
		p.ready.role = room.role
		if err := room.build(); err != nil {
			return nil, errors.Join(fmt.Errorf("building the role %s: %w", room.role, err), p.close())
		}
	}
	registerHealth(p.api, p.ready, p.registry)
	registerProfiles(p.api)
	registerState(p.api, n.cluster)
	return p, nil
}

// open makes what every role stands on: topics (the demo's own), keys, the view of consent.
func (p *parts) open(ctx context.Context) (err error) {
	n := p.node
	if n.broker != nil {
		if err := topics.Create(ctx, n.cluster, n.deployment.Kafka.Replicas); err != nil {
			return err
		}
		if err := n.checkTopics(ctx); err != nil {
			return err
		}
		p.ready.add("shop", p.shopReady)
	}
	if n.hasShop() {
		p.run("shop", func(ctx context.Context) error {
			if err := n.fillShop(ctx); err != nil && !p.ready.leaving.Load() { // its requests fail when the listener closes
				return err
			}
			return nil
		})
	}
	if p.name, err = n.name(); err != nil {
		return err
	}
	if p.ring, err = n.openKeys(); err != nil {
		return err
	}
	if err := n.data.checkKey(p.ring.Fingerprint()); err != nil {
		return err
	}
	if err := n.checkRootKey(ctx, p.ring.Fingerprint()); err != nil {
		return err
	}
	p.keys = pseudonym.New(p.ring)
	n.deployment.Keys.tell(n.logger, p.registry, time.Now())
	p.doors = admission.New(admission.Options{Places: n.deployment.Server.Places, Waiting: n.deployment.Server.Waiting, Lane: n.cluster.Lane, Registerer: p.registry})
	p.tokens = collector.NewTokens(p.rooms.collector, time.Now)
	p.consents = consent.NewView(n.cluster, p.register, p.ring, p.keys, consent.Options{
		Node: p.name, Registerer: p.registry, Logger: n.logger, Catalogue: p.obeyed,
	})
	p.follow("consent", p.consents)
	return nil
}

// shopReady tells whether the demo's catalogue is loaded.
func (p *parts) shopReady() string {
	if !p.node.hasShop() {
		return ""
	}
	return closedCheck(p.node.shopLoaded, "loading the demo shop")()
}

// maxReadyLag is how many records a runner may be behind and still be called ready.
const maxReadyLag = 1000

// work adds a runner of the role.
func (p *parts) work(role stream.Role) error {
	now := make(chan struct{})
	close(now)
	return p.workAfter(role, now)
}

// workAfter adds a runner that waits until a view has caught up. Its first results would be made from an empty view otherwise.
func (p *parts) workAfter(role stream.Role, view <-chan struct{}) error {
	n := p.node
	options := stream.RunnerOptions{Node: p.name, Logger: n.logger, Registerer: p.registry}
	for _, engine := range role.Engines {
		store, err := stream.OpenStore(n.data.join("state", engine.Name), stream.StoreOptions{Memory: p.memory})
		if err != nil {
			return err
		}
		p.add(store.Close)
		p.stores[engine.Name] = store
		options.Stores = append(options.Stores, store)
	}
	if n.broker != nil {
		journal, err := n.broker.Journal(role.Name)
		if err != nil {
			return err
		}
		p.add(journal.Close)
		options.Journal = journal
	}
	runner := stream.NewRunner(n.cluster, role, options)
	p.run("stream "+role.Name, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-view:
			return runner.Run(ctx)
		}
	})
	p.ready.add("stream "+role.Name, func() string {
		switch status := runner.Status(); {
		case !status.Joined:
			return "restoring"
		case status.Lag > maxReadyLag:
			return fmt.Sprintf("%d records behind", status.Lag)
		default:
			return ""
		}
	})
	return nil
}

func (p *parts) buildFilter() error {
	window, kept := p.features.ContributorWindows(p.register)
	return p.work(filter.Engine(filter.Options{
		Register: p.register, Ring: p.ring, Keys: p.keys, Generation: p.node.deployment.Kafka.Generation, Registerer: p.registry,
		TrendingWindow: window, TrendingKept: kept, TrendingAge: p.features.Trending.MinAge, Counts: p.features.Counts,
	}).Alone())
}

func (p *parts) buildFeatures() error { return p.work(features.Role(p.features, p.registry)) }

// viewOf is what the view of an engine's state needs.
func (p *parts) viewOf(engine string) record.ViewOptions {
	return record.ViewOptions{Now: time.Now, Registerer: p.registry, Logger: p.node.logger, Checkpoint: p.stores[engine]}
}

// openLog opens the way to sluice.events, which the collector and the decisions API share.
func (p *parts) openLog() (err error) {
	if p.collector != nil {
		return nil
	}
	n := p.node
	if p.log, err = ingest.OpenLog(n.cluster, p.ring, ingest.LogOptions{Registerer: p.registry}); err != nil {
		return err
	}
	p.add(func() error { p.log.Close(); return nil })
	p.quotas = quota.New(quota.Options{Config: p.rooms.quotas, Proxies: n.deployment.Server.proxies, Held: n.deployment.Server.Connections * 3 / 4, // from there on the listener closes connections after their answer
		Registerer: p.registry})
	p.runs = filter.NewRuns(n.cluster, p.stores["filter"])
	roles := streamRoles()
	p.backlog = stream.NewBacklog(n.cluster, roles[0], roles[1:2], stream.BacklogOptions{Limit: p.rooms.collector.MaxBacklog, Lag: p.rooms.collector.MaxLag, PerRecord: p.log.EventsPerRecord, Logger: n.logger})
	p.run("backlog", p.backlog.Run)
	for _, g := range []struct {
		name, help string
		value      func() int64
	}{
		{"sluice_ingest_backlog_events", "Accepted events that filter and features have not settled yet, of all collectors, as this one knows.", p.backlog.Waiting},
		{"sluice_ingest_backlog_bound_events", "How many events may wait to be settled now, by collector.max_backlog and collector.max_lag; further ones are answered 429.", p.backlog.Bound},
		{"sluice_ingest_backlog_reserved_events", "Room that this collector keeps for events of bodies that it is still decoding.", p.backlog.Reserved},
	} {
		p.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return float64(g.value()) }))
	}
	revisions := privacyfilter.NewRevisions(p.ring)
	p.collector, err = collector.New(collector.Options{
		Config: p.rooms.collector, Log: p.log, Gate: p.consents.Gate(), Backlog: p.backlog, Door: p.doors.Door(admission.Collection), Quotas: p.quotas, Introduces: p.consents.Introduces, Runs: p.runs, Denied: p.register.Denied, Keeps: keeps(p.register), Place: revisions.Place, Cluster: n.cluster, Lists: p.offers(), Registerer: p.registry, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	p.add(func() error { p.collector.Close(); return nil })
	return nil
}

// openLetters opens the way to sluice.dead-letters, which collector and warehouse share.
func (p *parts) openLetters() (err error) {
	if p.letters != nil {
		return nil
	}
	if p.letters, err = deadletter.Open(p.node.cluster, p.ring, deadletter.Options{Registerer: p.registry, Logger: p.node.logger}); err != nil {
		return err
	}
	p.add(func() error { p.letters.Close(); return nil })
	return nil
}

// leaseTolerance is how long a lease may have lapsed before the role is not ready. Requests with a subject get 503 at once, and a balancer tries them elsewhere. It
// should not take the node from strangers because of a short pause.
const leaseTolerance = 3 * time.Second

// needLease makes the lease on consent a condition of the role's readiness.
func (p *parts) needLease() {
	p.ready.add("consent lease of "+p.ready.role, func() string {
		if p.consents.LapsedFor() < leaseTolerance {
			return ""
		}
		return "lapsed: it cannot be known now what people have chosen"
	})
}

func (p *parts) buildCollector() error {
	p.needLease()
	if err := p.openLog(); err != nil {
		return err
	}
	n := p.node
	p.follow("replay runs", p.runs)
	p.collector.Register(p.api)

	if err := p.openLetters(); err != nil {
		return err
	}
	p.follow("dead letters", p.letters)
	gate := deadletter.Probe(ingest.AdmitOne(p.consents.Gate()))
	deadletter.Register(p.api, p.letters, gate)
	p.run("inbound", inbound.New(inbound.Options{
		Cluster: n.cluster, Node: p.name, Intake: p.collector.Inbound(), Letters: p.letters, Gate: gate, Registerer: p.registry, Logger: n.logger,
	}).Run)

	view := p.viewOf("history")
	var err error
	if view.Dir, err = n.data.emptied("views"); err != nil {
		return err
	}
	p.history = history.NewView(n.cluster, p.features, view)
	p.follow("footprints", p.history)
	settings.Register(p.api, settings.Options{
		Log: p.log, View: p.consents, Policy: p.register, Ring: p.ring, Keys: p.keys, History: footprints{p.history},
		Generation: n.deployment.Kafka.Generation, Placeholders: p.rooms.collector.Forms.Placeholders, Jurisdictions: n.deployment.Keys.Jurisdictions, Quotas: p.quotas, MaxBlocks: p.rooms.quotas.Blocks, UserToken: p.tokens.User, Lane: n.cluster.Lane, Registerer: p.registry, Logger: n.logger,
	})
	return nil
}

// makeCatalogue makes the view of the catalogue, which rankers and pages share. openCatalogue follows it.
func (p *parts) makeCatalogue() {
	if p.catalogue != nil {
		return
	}
	p.ids = itemid.NewTable()
	p.catalogue = catalog.NewView(p.node.cluster, catalog.Options{IDs: p.ids, Shows: p.consents.Tell, Registerer: p.registry, Logger: p.node.logger})
}

func (p *parts) openCatalogue() {
	if p.followed {
		return
	}
	p.makeCatalogue()
	p.follow("catalogue", p.catalogue)
	p.followed = true
}

// offers are the lists that a change of the catalogue must be obeyed by: those of this process, if it makes any, and of all others.
func (p *parts) offers() collector.Lists {
	if p.node.has(roleRanker) {
		p.makeCatalogue()
	}
	return offers{p.catalogue, p.consents}
}

// obeyed is how far the lists of this process obey the catalogue; none if it makes none.
func (p *parts) obeyed() []int64 {
	if p.catalogue == nil {
		return nil
	}
	return p.catalogue.Shown()
}

// sessionHash is a session id as the personalization features know it.
func (p *parts) sessionHash(id string) uint64 {
	pseudonym := p.keys.Identifier(privacyfilter.Personalize, "session", id)
	return binary.BigEndian.Uint64(pseudonym[:])
}

// listsReady tells whether the first lists are made. With `clock: event` they are made at the first event; before it there is nothing to list, so the role is ready.
// The view has a condition of its own.
func (p *parts) listsReady() (check func() string, err error) {
	var clock string
	if err := p.node.config.Section("clock").Decode(&clock); err != nil {
		return nil, err
	}
	return func() string {
		if clock == "event" || p.trending.Lists().Tick != 0 {
			return ""
		}
		return "the first lists are not published"
	}, nil
}

func (p *parts) buildRanker() error {
	p.needLease()
	n := p.node
	p.openCatalogue()
	p.personal = profile.NewView(n.cluster, p.features, p.ids, p.viewOf("personal"))
	p.follow("profiles", p.personal)
	p.trending = trending.NewView(n.cluster, p.features, p.ids, p.catalogue, p.viewOf("trending"))
	p.follow("trending", p.trending)
	lists, err := p.listsReady()
	if err != nil {
		return err
	}
	p.ready.add("lists", lists)
	p.ready.note("catalogue", func() string {
		if p.catalogue.Snapshot().Posted() {
			return ""
		}
		return "nothing was ever posted: lists hold what events name"
	})
	recommend.Register(p.api, recommend.Options{
		Config: p.recommend, Consents: recommend.FromView(p.consents), Personal: p.personal, Trending: p.trending, Catalogue: p.catalogue, IDs: p.ids, Door: p.doors.Door(admission.Rankings),
		CursorKey: p.ring.Derive("recommend/cursor"), Session: p.sessionHash, UserToken: p.tokens.User, Registerer: p.registry, Logger: n.logger,
	})
	return nil
}

func (p *parts) buildRisk() error {
	n := p.node
	if err := p.openLog(); err != nil {
		return err
	}
	p.entities = entity.NewView(n.cluster, p.features, p.viewOf("entity"))
	p.follow("entities", p.entities)
	decider := risk.New(risk.Options{
		Config: p.risk, Entities: p.entities, AppealKey: p.ring.Derive("risk/appeal"), Registerer: p.registry, Logger: n.logger,
	})
	store := risk.NewStore(n.cluster, risk.StoreOptions{Registerer: p.registry, Logger: n.logger})
	p.follow("decisions", store)
	risk.Register(p.api, risk.APIOptions{
		Decider: decider, Store: store, Door: p.doors.Door(admission.Decisions), Intake: &intake{collector: p.collector, projector: filter.NewProjector(p.register, p.keys), now: time.Now},
	})
	return p.workAfter(risk.DeciderEngine(decider).Alone(), p.entities.CaughtUp())
}

func (p *parts) buildWeb() error {
	p.openCatalogue()
	n := p.node
	return web.Register(p.api, web.Options{
		API: web.NewClient(n.url(), n.key, n.transport()), Catalogue: shelves{p.catalogue}, Crowd: &n.crowd, Cards: demoCards,
		Key: p.ring.Derive("web/cookies"), Attribution: shop.Attribution, Logger: n.logger,
	})
}
