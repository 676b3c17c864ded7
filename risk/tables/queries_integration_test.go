//go:build integration

package tables_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"sluice/deploy/local/clickhouse/engine"
	"sluice/internal/seal"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/clickhouse"
	purposes "sluice/privacyfilter/tables"
	"sluice/risk/tables"
)

// TestDocsQueries runs the queries of docs/warehouse.md in a real engine.
func TestDocsQueries(t *testing.T) {
	data, err := os.ReadFile("../../docs/warehouse.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(data), "\n## Queries in ClickHouse\n")
	section, _, _ = strings.Cut(section, "\n## ")
	queries := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(queries) < 5 {
		t.Fatalf("%d queries found", len(queries))
	}
	e, err := engine.Start(t.Context(), engine.Options{Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	}()
	reg := register(t)
	var all []*warehouse.Table
	for _, s := range append(purposes.Sources(reg, seal.NewKeyring([32]byte{})), tables.Sources(reg)...) {
		all = append(all, s.Tables...)
	}
	if _, err := clickhouse.Migrate(t.Context(), clickhouse.Options{Addresses: []string{e.Address()}, Protocol: "http"}, all); err != nil {
		t.Fatal(err)
	}
	conn, err := ch.Open(&ch.Options{Addr: []string{e.Address()}, Protocol: ch.HTTP, Auth: ch.Auth{Database: "sluice"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, query := range queries {
		rows, err := conn.Query(t.Context(), query[1])
		if err == nil {
			err = rows.Close()
		}
		if err != nil {
			t.Errorf("%s: %v", query[1], err)
		}
	}
}
