//go:build integration

package tables_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/deploy/local/clickhouse/engine"
	"sluice/internal/warehouse/clickhouse"
	"sluice/privacyfilter/tables"
	"sluice/replay"
)

// TestReplayOfClickHouse: what the warehouse's tables hold in a real engine is replayed.
func TestReplayOfClickHouse(t *testing.T) {
	e, err := engine.Start(t.Context(), engine.Options{Data: t.TempDir(), User: "ann", Password: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	}()
	sources := tables.Sources(register(t), ring)
	o := clickhouse.Options{Addresses: []string{e.Address()}, Database: "d", User: "ann", Password: "s3cret", Protocol: "http"}
	if _, err := clickhouse.Migrate(t.Context(), o, tablesOf(sources)); err != nil {
		t.Fatal(err)
	}
	store, err := clickhouse.Open(t.Context(), o, tablesOf(sources))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	fillStore(t, store, sources)
	for table, want := range wantReplayed {
		address := "clickhouse://ann@" + e.Address() + "/d/" + table + "?protocol=http&from=2026-10-01&to=2026-10-02"
		got := replayed(t, replay.Options{Events: []string{address}, ClickHousePassword: "s3cret"})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", table, diff)
		}
	}
}
