package app

import (
	"context"
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

func (w *warehouseConfig) validate(section config.Section, faults *config.Faults) {
	var err error
	if w.flush, err = config.ParseDuration(w.Flush); err != nil {
		faults.Add(section.Errorf(".flush", "%v", err))
	}
	switch w.Store {
	case storeParquet:
	case storeClickHouse:
		w.ClickHouse.validate(section, faults)
	default:
		faults.Add(section.Errorf(".store", "must be parquet or clickhouse"))
	}
}

func (c *clickhouseConfig) validate(section config.Section, faults *config.Faults) {
	if len(c.Addresses) != 1 {
		faults.Add(section.Errorf(".clickhouse.addresses", "must be one host:port: the tables are not replicated, and purges would miss rows on another server"))
	}
	if c.Protocol != "native" && c.Protocol != "http" {
		faults.Add(section.Errorf(".clickhouse.protocol", "must be native or http"))
	}
	if c.Database == "" {
		faults.Add(section.Errorf(".clickhouse.database", "must not be empty"))
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

// openWarehouse waits until ClickHouse answers, and opens the store. Rows wait in Kafka meanwhile. It returns errors that waiting does not mend.
func (p *parts) openWarehouse(ctx context.Context, tables []*warehouse.Table) (warehouse.Store, error) {
	n := p.node
	w := &n.deployment.Warehouse
	if w.Store == storeParquet {
		dir := w.Parquet.Dir
		if dir == "" {
			dir = n.data.join("warehouse")
		}
		return parquet.Open(dir, tables, parquet.Options{Sync: w.Parquet.Fsync, Logger: n.logger, Deployment: n.deployment.name()})
	}
	o, err := w.ClickHouse.options(n.config.Section("warehouse"), n.deployment.name())
	if err != nil {
		return nil, err
	}
	o.Logger = n.logger
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		store, err := clickhouse.Open(ctx, o, tables)
		if err == nil || clickhouse.IsSchema(err) {
			return store, err
		}
		n.logger.Warn("the warehouse waits for ClickHouse", "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// buildWarehouse follows every purpose's stream, the decisions and the ledger into the store.
func (p *parts) buildWarehouse() error {
	n := p.node
	if err := p.openLetters(); err != nil {
		return err
	}
	sources := p.warehouseSources()
	node := p.name
	if n.deployment.Warehouse.Store == storeParquet {
		node = storeParquet // one process has the files: a second one takes its place in the group instead of sharing the work
	}
	var writer atomic.Pointer[warehouse.Writer]
	p.run("warehouse", func(ctx context.Context) error {
		store, err := p.openWarehouse(ctx, tablesOf(sources))
		if err != nil {
			return err
		}
		p.add(store.Close)
		writer.Store(warehouse.New(n.cluster, sources, store, warehouse.Options{
			Node: node, Flush: n.deployment.Warehouse.flush, Letters: deadletter.Undecodable{Store: p.letters, Stage: deadletter.StageWarehouse}, Logger: n.logger, Registerer: p.registry,
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

// ClickHouse is the database that the configuration names as the warehouse's store, with the tables that it must have.
func (c *Config) ClickHouse() (clickhouse.Options, []*warehouse.Table, error) {
	d, err := loadDeployment(c)
	if err != nil {
		return clickhouse.Options{}, nil, err
	}
	r, err := loadRooms(c)
	if err != nil {
		return clickhouse.Options{}, nil, err
	}
	section := c.Section("warehouse")
	if d.Warehouse.Store != storeClickHouse {
		return clickhouse.Options{}, nil, section.Errorf(".store", "must be clickhouse: Parquet files need no migration")
	}
	o, err := d.Warehouse.ClickHouse.options(section, d.name())
	return o, tablesOf((&parts{rooms: r}).warehouseSources()), err
}
