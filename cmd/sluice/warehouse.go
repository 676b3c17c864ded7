package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sluice/ingest/deadletter"
	"sluice/internal/config"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/clickhouse"
	"sluice/internal/warehouse/parquet"
	privacytables "sluice/privacyfilter/tables"
	risktables "sluice/risk/tables"
)

// Stores that the warehouse can have.
const (
	storeParquet    = "parquet"
	storeClickHouse = "clickhouse"
)

type warehouseConfig struct {
	Store   string `yaml:"store"`
	Flush   string `yaml:"flush"`
	Parquet struct {
		Dir   string `yaml:"dir"`
		Fsync bool   `yaml:"fsync"`
	} `yaml:"parquet"`
	ClickHouse clickhouseConfig `yaml:"clickhouse"`

	flush time.Duration
}

type clickhouseConfig struct {
	Addresses    []string  `yaml:"addresses"`
	Protocol     string    `yaml:"protocol"`
	Database     string    `yaml:"database"`
	User         string    `yaml:"user"`
	PasswordFile string    `yaml:"password_file"`
	TLS          tlsConfig `yaml:"tls"`
}

func (w *warehouseConfig) validate(section config.Section) (err error) {
	if w.flush, err = config.ParseDuration(w.Flush); err != nil {
		return section.Errorf(".flush", "%v", err)
	}
	switch w.Store {
	case storeParquet:
		return nil
	case storeClickHouse:
		return w.ClickHouse.validate(section)
	default:
		return section.Errorf(".store", "parquet or clickhouse expected")
	}
}

func (c *clickhouseConfig) validate(section config.Section) error {
	switch {
	case len(c.Addresses) != 1:
		return section.Errorf(".clickhouse.addresses", "one host:port expected: the tables are not replicated, and purges would miss rows on another server")
	case c.Protocol != "native" && c.Protocol != "http":
		return section.Errorf(".clickhouse.protocol", "native or http expected")
	case c.Database == "":
		return section.Errorf(".clickhouse.database", "a name expected")
	default:
		return nil
	}
}

// options are what the adapter wants to know. deployment tells this log from others that may have filled the same database.
func (c *clickhouseConfig) options(section config.Section, deployment string) (clickhouse.Options, error) {
	o := clickhouse.Options{Addresses: c.Addresses, Database: c.Database, User: c.User, Protocol: c.Protocol, Deployment: deployment}
	if c.PasswordFile != "" {
		password, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return o, section.Errorf(".clickhouse.password_file", "%v", err)
		}
		o.Password = strings.TrimRight(string(password), "\r\n")
	}
	if !c.TLS.Enabled {
		return o, nil
	}
	settings, err := c.TLS.load()
	if err != nil {
		return o, section.Errorf(".clickhouse.tls", "%v", err)
	}
	o.TLS = settings
	return o, nil
}

// warehouseSources are everything that the warehouse is filled from.
func (p *parts) warehouseSources() []*warehouse.Source {
	return append(privacytables.Sources(p.register, p.ring), risktables.Sources(p.register)...)
}

func tablesOf(sources []*warehouse.Source) (tables []*warehouse.Table) {
	for _, s := range sources {
		tables = append(tables, s.Tables...)
	}
	return tables
}

// name tells this deployment's log from others.
func (d *deployment) name() string {
	return d.Kafka.Prefix + strconv.FormatUint(uint64(d.Kafka.Generation), 10)
}

// openWarehouse opens the store, when ClickHouse answers: rows wait in Kafka until then. An error is one that waiting does not mend.
func (p *parts) openWarehouse(ctx context.Context, tables []*warehouse.Table) (warehouse.Store, error) {
	s := p.server
	w := &s.deployment.Warehouse
	if w.Store == storeParquet {
		dir := w.Parquet.Dir
		if dir == "" {
			dir = s.data.join("warehouse")
		}
		return parquet.Open(dir, tables, parquet.Options{Sync: w.Parquet.Fsync, Logger: s.logger, Deployment: s.deployment.name()})
	}
	o, err := w.ClickHouse.options(s.settings.section("warehouse"), s.deployment.name())
	if err != nil {
		return nil, err
	}
	o.Logger = s.logger
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		store, err := clickhouse.Open(ctx, o, tables)
		if err == nil || clickhouse.IsSchema(err) {
			return store, err
		}
		s.logger.Warn("the warehouse waits for ClickHouse", "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// buildWarehouse follows every purpose's stream, the decisions and the ledger into the store.
func (p *parts) buildWarehouse() error {
	s := p.server
	if err := p.openLetters(); err != nil {
		return err
	}
	sources := p.warehouseSources()
	node := p.node
	if s.deployment.Warehouse.Store == storeParquet {
		node = storeParquet // files of one process: a second one would take its predecessor's place in the group, not share its work
	}
	var writer atomic.Pointer[warehouse.Writer]
	p.run("warehouse", func(ctx context.Context) error {
		store, err := p.openWarehouse(ctx, tablesOf(sources))
		if err != nil {
			return err
		}
		p.add(store.Close)
		writer.Store(warehouse.New(s.cluster, sources, store, warehouse.Options{
			Node: node, Flush: s.deployment.Warehouse.flush, Letters: warehouseLetters{p.letters}, Logger: s.logger, Registerer: p.registry,
		}))
		return writer.Load().Run(ctx)
	})
	p.ready.add("warehouse", func() string {
		w := writer.Load()
		if w == nil {
			return "waiting for its store"
		}
		switch status := w.Status(); {
		case status.Waiting:
			return "waiting for its store"
		case !status.Joined:
			return "waiting for its partitions"
		default:
			return ""
		}
	})
	return nil
}

// warehouseLetters keeps records that no row could be made of.
type warehouseLetters struct{ letters *deadletter.Store }

// Put keeps one record.
func (w warehouseLetters) Put(ctx context.Context, topic string, partition int32, offset int64, _, value []byte, err error) error {
	return w.letters.Put(ctx, deadletter.Letter{
		Stage: deadletter.StageWarehouse, Code: "undecodable", Detail: err.Error(), Source: topic + "/" + strconv.Itoa(int(partition)),
		Position: uint64(offset), Payload: value,
	})
}

type migrateCmd struct {
	Config string `help:"Configuration file." type:"path" required:""`
	Check  bool   `help:"Only say what would be done. Exit code 1 if something would."`
}

// Run brings ClickHouse's tables to this version.
func (c *migrateCmd) Run(env *environment) error {
	settings, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	d, err := loadDeployment(settings)
	if err != nil {
		return err
	}
	rooms, err := loadRooms(settings)
	if err != nil {
		return err
	}
	section := settings.section("warehouse")
	if d.Warehouse.Store != storeClickHouse {
		return section.Errorf(".store", "clickhouse expected: Parquet files need no migration")
	}
	o, err := d.Warehouse.ClickHouse.options(section, d.name())
	if err != nil {
		return err
	}
	o.Logger = newLogger(env.stderr)
	return c.migrate(env, o, tablesOf((&parts{rooms: rooms}).warehouseSources()))
}

func (c *migrateCmd) migrate(env *environment, o clickhouse.Options, tables []*warehouse.Table) error {
	if c.Check {
		pending, err := clickhouse.Pending(env, o, tables)
		if err != nil {
			return err
		}
		for _, name := range pending {
			fmt.Fprintln(env.stdout, "to do:", name)
		}
		if len(pending) > 0 {
			return errSilent
		}
		fmt.Fprintln(env.stdout, "all tables are as they should be")
		return nil
	}
	applied, err := clickhouse.Migrate(env, o, tables)
	for _, name := range applied {
		fmt.Fprintln(env.stdout, "done:", name)
	}
	if err == nil && len(applied) == 0 {
		fmt.Fprintln(env.stdout, "nothing to do")
	}
	return err
}
