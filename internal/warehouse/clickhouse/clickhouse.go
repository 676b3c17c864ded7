// Package clickhouse keeps the warehouse's tables in ClickHouse. Each block of rows has a deduplication token. A block that comes again adds nothing, neither
// to its table nor to the hourly counts. When Append returns, what purges delete can no longer be read.
package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// Options say where ClickHouse is.
type Options struct {
	Addresses []string    // one host:port: the tables are not replicated, and a purge would miss rows on another server
	Database  string      // "" = sluice
	User      string      // "" = default
	Password  string      //
	Protocol  string      // native (port 9000, 9440 with TLS) or http (8123, 8443); "" = native
	TLS       *tls.Config // nil = none
	// Deployment tells one log from another that has the same topics and offsets: prefix and generation. It is part of every block's token, so that the
	// blocks of a log that was started anew are not taken for those of the one before.
	Deployment string
	Logger     *slog.Logger // nil = slog.Default()
}

const (
	defaultDatabase = "sluice"
	maxConnections  = 4 // partitions: so many blocks are inserted at once
)

// Store is a warehouse.Store in ClickHouse.
type Store struct {
	conn       driver.Conn
	database   string
	deployment string
	tables     []*warehouse.Table
	types      map[string][]string // by table's name and column's place, as the engine writes them
	log        *slog.Logger
}

var _ warehouse.Store = (*Store)(nil)

// Open connects. It checks that every migration is applied, that every table has every column with a type that fits, and that every table keeps its rows as
// long as it should. IsSchema is true for what it finds wrong, and the error names the command that mends it.
func Open(ctx context.Context, o Options, tables []*warehouse.Table) (*Store, error) {
	o = o.withDefaults()
	conn, err := connect(o, o.Database)
	if err != nil {
		return nil, err
	}
	s := &Store{conn: conn, database: o.Database, deployment: o.Deployment, tables: tables, log: o.Logger}
	if s.types, err = check(ctx, conn, o.Database, tables); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the connections. Appends under way fail.
func (s *Store) Close() error { return s.conn.Close() }

func (o Options) withDefaults() Options {
	if o.Database == "" {
		o.Database = defaultDatabase
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// connect opens a pool of connections; each is made when it is needed. The driver is given no logger: it would log statements.
func connect(o Options, database string) (driver.Conn, error) {
	if len(o.Addresses) != 1 {
		return nil, errors.New("clickhouse: addresses: must be one host:port")
	}
	options := &ch.Options{
		Addr:         o.Addresses,
		Auth:         ch.Auth{Database: database, Username: o.User, Password: o.Password},
		TLS:          o.TLS,
		DialTimeout:  10 * time.Second,
		ReadTimeout:  10 * time.Minute, // for an answer to begin: a mutation of much data takes its time
		MaxOpenConns: 2 * maxConnections,
		MaxIdleConns: maxConnections,
		Compression:  &ch.Compression{Method: ch.CompressionLZ4},
		ClientInfo:   ch.ClientInfo{Products: []struct{ Name, Version string }{{Name: "sluice", Version: "warehouse"}}},
	}
	switch o.Protocol {
	case "", "native":
		options.Protocol = ch.Native
	case "http":
		options.Protocol = ch.HTTP
	default:
		return nil, fmt.Errorf("clickhouse: protocol: must be native or http")
	}
	conn, err := ch.Open(options)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", withoutText(err))
	}
	return conn, nil
}

// quoteName writes an identifier.
func quoteName(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

// quoteText writes a string literal.
func quoteText(text string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(text) + "'"
}

// table is the full name of a table, for statements.
func (s *Store) table(t *warehouse.Table) string {
	return quoteName(s.database) + "." + quoteName(t.Name)
}
