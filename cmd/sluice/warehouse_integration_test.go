//go:build integration

package main

import (
	"fmt"
	"strings"
	"testing"

	"sluice/deploy/local/clickhouse/engine"
)

// TestClickHouseIsFilledAndReadBack is the same on a real ClickHouse engine, whose tables `sluice migrate` makes.
func TestClickHouseIsFilledAndReadBack(t *testing.T) {
	e, err := engine.Start(t.Context(), engine.Options{Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Log("ClickHouse", e.Version())
	config := fmt.Sprintf("warehouse: {store: clickhouse, flush: 100ms, clickhouse: {addresses: [%q], protocol: http}}\n", e.Address())
	file := writeConfig(t, config)
	if stdout, _, code := sluice(t, "migrate", "--check", "--config", file); code != exitFailed || !strings.Contains(stdout, "to do: ") {
		t.Errorf("checking before migrating: exit code %d: %s", code, stdout)
	}
	if _, stderr, code := sluice(t, "migrate", "--config", file); code != exitDone {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if stdout, stderr, code := sluice(t, "migrate", "--check", "--config", file); code != exitDone {
		t.Errorf("checking after migrating: exit code %d: %s%s", code, stdout, stderr)
	}
	fillAndReadBack(t, t.TempDir(), config, "clickhouse://"+e.Address()+"/sluice/history_events?protocol=http")
}
