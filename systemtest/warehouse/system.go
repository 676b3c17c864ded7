package warehouse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/deploy/local/clickhouse/engine"
	"sluice/deploy/local/kafka/kraft"
	"sluice/internal/broker"
	"sluice/internal/config"
	"sluice/internal/process"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/clickhouse"
	"sluice/privacyfilter"
	privacytables "sluice/privacyfilter/tables"
	risktables "sluice/risk/tables"
	"sluice/systemtest/client"
	"sluice/systemtest/run"
)

// system is a deployment: a broker, ClickHouse, one process for everything but the warehouse, and one for the warehouse, which is started apart.
type system struct {
	broker  string
	cluster stream.Cluster
	sources []*warehouse.Source
	engine  *engine.Engine
	conn    driver.Conn // to the engine, as an analyst has it
	app     *process.Process
	url     string // of the app
	api     *client.Client
	group   *group

	binary, dir string
	flush       string         // the warehouse's: how old a row becomes before it is stored
	closers     []func() error // in the order of starting
}

// Names of what the deployment uses.
const (
	prefix   = "sluice."
	database = "sluice"

	storeClickHouse = "clickhouse"
	storeParquet    = "parquet"
)

const (
	readyTime = 90 * time.Second // bounds how long a process may take to be ready
	endTime   = 30 * time.Second // bounds how long it may take to end in order
	patience  = time.Minute      // bounds a request: an import waits until every node knows
)

// start starts everything but the warehouse.
func start(ctx context.Context, o *Command, name, flush string) (s *system, err error) {
	s = &system{binary: o.Sluice, dir: filepath.Join(o.Dir, name), flush: flush}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s, err
	}
	if err := s.startBroker(ctx, o.Broker); err != nil {
		return s, err
	}
	if err := topics.Create(ctx, s.cluster, 1); err != nil {
		return s, err
	}
	if err := seal.Create(s.path("root.key")); err != nil {
		return s, err
	}
	if s.sources, err = sources(s.path("root.key")); err != nil {
		return s, err
	}
	if s.group, err = newGroup(s.cluster, s.sources); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.group.close)
	if err := s.startEngine(ctx, ""); err != nil {
		return s, err
	}
	s.closers = append(s.closers, func() error { s.engine.Kill(); return nil })
	if s.conn, err = connect(s.engine.Address()); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.conn.Close)
	app, url, err := s.serve(ctx, "app", storeClickHouse, "collector,filter,features,risk")
	if err != nil {
		return s, err
	}
	s.app, s.url, s.api = app, url, client.New(url, http.DefaultTransport, patience)
	return s, s.migrate(ctx)
}

func (s *system) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

func (s *system) startBroker(ctx context.Context, kind string) error {
	switch kind {
	case "kafka":
		k, err := kraft.Start(ctx, kraft.Options{Dir: s.path("kafka"), Heap: "1g"}) // Kafka's own default
		if err != nil {
			return err
		}
		s.closers = append(s.closers, k.Close)
		s.broker, s.cluster = "Apache Kafka "+kraft.Version, stream.Cluster{Brokers: k.Addrs(), Prefix: prefix}
	case "embedded":
		b, err := broker.Start(broker.Options{Dir: s.path("broker")})
		if err != nil {
			return err
		}
		s.closers = append(s.closers, func() error { b.Close(); return nil })
		s.broker, s.cluster = "embedded, in the benchmark's process", b.Cluster(prefix)
	default:
		return fmt.Errorf("--broker %s: must be kafka or embedded", kind)
	}
	return nil
}

// startEngine starts ClickHouse on the data that it had, and on the address if one is named.
func (s *system) startEngine(ctx context.Context, address string) (err error) {
	s.engine, err = engine.Start(ctx, engine.Options{Data: s.path("clickhouse"), Listen: address})
	return err
}

// serve starts a process with some roles, and returns where it is when it is ready. It ends with the system, if not before.
func (s *system) serve(ctx context.Context, name, store, roles string) (p *process.Process, url string, err error) {
	file, err := s.configure(name, store)
	if err != nil {
		return nil, "", err
	}
	p = process.New(process.Options{
		Name: name, Path: s.binary, Args: []string{"serve", "--config", file, "--roles", roles}, Log: s.path(name + ".log"),
	})
	if err := p.Start(); err != nil {
		return nil, "", err
	}
	s.closers = append(s.closers, func() error {
		if !p.Running() {
			return nil
		}
		return p.Kill()
	})
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	url, err = p.Ready(ctx)
	return p, url, err
}

// end ends a process in order.
func end(ctx context.Context, p *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	return p.Terminate(ctx)
}

// configure writes a process's configuration.
func (s *system) configure(name, store string) (file string, err error) {
	retention, err := longRetention()
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(`server: {listen: "127.0.0.1:0", data: %q, root_key: %q, node: %q, linger: 0s}
kafka: {brokers: [%q], prefix: %q, replicas: 1, generation: 1}
keys: {write: [%s], server: [%s], operator: [%s]}
warehouse:
  store: %s
  flush: %s
  parquet: {dir: %q}
  clickhouse: {addresses: [%q], protocol: http, database: %s, user: default}
`, s.path(name), s.path("root.key"), name, s.cluster.Brokers[0], prefix, client.WriteKey, client.ServerKey, client.OperatorKey,
		store, s.flush, s.path("parquet"), s.engine.Address(), database)
	file = s.path(name + ".yaml")
	return file, os.WriteFile(file, append([]byte(text), retention...), 0o600)
}

// migrate makes ClickHouse's tables.
func (s *system) migrate(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, s.binary, "migrate", "--config", s.path("app.yaml")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("sluice migrate: %w: %s", err, out)
	}
	return nil
}

// openClickHouse opens the store as the program does.
func (s *system) openClickHouse(ctx context.Context) (*clickhouse.Store, error) {
	return clickhouse.Open(ctx, clickhouse.Options{Addresses: []string{s.engine.Address()}, Protocol: "http", Database: database}, s.tables())
}

func (s *system) tables() (tables []*warehouse.Table) {
	for _, source := range s.sources {
		tables = append(tables, source.Tables...)
	}
	return tables
}

// close ends everything that still runs, what was started last first.
func (s *system) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

// longRetention is the built-in register's section, but what fraud control sees is kept long enough for transactions of 2018.
func longRetention() ([]byte, error) {
	const builtIn, long = "security: {period: 180d", "security: {period: 7300d"
	_, section, found := bytes.Cut(privacyfilter.Defaults, []byte("\nretention:\n"))
	if !found || !bytes.Contains(section, []byte(builtIn)) {
		return nil, fmt.Errorf("the built-in register has no %q any more", builtIn)
	}
	return append([]byte("retention:\n"), bytes.Replace(section, []byte(builtIn), []byte(long), 1)...), nil
}

// sources are those that the program has with this configuration.
func sources(rootKey string) ([]*warehouse.Source, error) {
	ring, err := seal.Open(rootKey)
	if err != nil {
		return nil, err
	}
	retention, err := longRetention()
	if err != nil {
		return nil, err
	}
	sections := make(map[string]config.Section)
	for _, data := range [][]byte{privacyfilter.Defaults, retention} { // a section of the second replaces the first one's
		file, err := config.Parse("register.yaml", data)
		if err != nil {
			return nil, err
		}
		for _, section := range file.Sections() {
			sections[section.Name] = section
		}
	}
	register, err := privacyfilter.Load(func(name string) config.Section { return sections[name] })
	if err != nil {
		return nil, err
	}
	return append(privacytables.Sources(register, ring), risktables.Sources(register)...), nil
}

// scrape reads a process's metrics, by name and labels.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+client.OperatorKey)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	metrics := make(map[string]float64)
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, number, _ := strings.Cut(lines.Text(), "} ")
		if name == lines.Text() {
			name, number, _ = strings.Cut(name, " ")
		}
		if value, err := strconv.ParseFloat(number, 64); err == nil {
			metrics[name] = value
		}
	}
	return metrics, nil
}

// behindTime bounds how long the warehouse may take to store what is there.
const behindTime = 40 * time.Minute

// stored waits until everything below the ends is stored and committed.
func (s *system) stored(ctx context.Context, ends kadm.ListedOffsets) error {
	ctx, cancel := context.WithTimeout(ctx, behindTime)
	defer cancel()
	for {
		behind, err := s.group.behind(ctx, ends)
		if err == nil && behind == 0 {
			return nil
		}
		if !run.Sleep(ctx, 50*time.Millisecond) { // asked from outside: there is nothing to wait on
			return errors.Join(fmt.Errorf("%d records are not stored yet: %w", behind, ctx.Err()), err)
		}
	}
}
