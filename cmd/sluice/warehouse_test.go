package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

func TestParquetIsFilledAndReadBack(t *testing.T) {
	dir := t.TempDir()
	fillAndReadBack(t, dir, "warehouse: {flush: 100ms}\n", filepath.Join(dir, "warehouse", "history_events"))
}

// fillAndReadBack runs a demo with a warehouse: what passes the filter becomes rows, a deletion reaches them, and a replay of a table gives its events to
// another server, under pseudonyms.
func fillAndReadBack(t *testing.T, dir, config, table string) {
	t.Helper()
	d := startDemo(t, dir, "--shop", "none", "--shoppers", "0", "--config", writeConfig(t, config))
	const who = "visitor"
	revision := d.accept(who)
	d.post(
		view("kept", who, "item-1", revision, time.Now(), 0),
		view("deleted", who, "item-2", revision, time.Now(), 0),
		view("kept too", who, "item-3", revision, time.Now(), 0),
	)
	d.settled()
	rows := func() float64 { return d.metric(`sluice_warehouse_rows_total{table="history_events"}`) }
	purges := func() float64 { return d.metric("sluice_warehouse_purges_total") }
	eventually(t, "rows are stored", func() bool { return rows() == 3 })
	before := purges() // what a first acceptance makes

	var history struct {
		Items []struct {
			EventID string   `json:"event_id"`
			ItemIDs []string `json:"item_ids"`
		}
	}
	path := "/v1/visitors/" + who + "/history"
	d.ask(http.MethodGet, path, nil, &history)
	for _, footprint := range history.Items {
		if footprint.ItemIDs[0] == "item-2" {
			d.set(http.MethodDelete, path+"/"+footprint.EventID, nil)
		}
	}
	eventually(t, "the deletion reaches the rows", func() bool { return purges() > before })
	d.stop()

	other := startEmpty(t, t.TempDir())
	stdout, stderr, code := sluice(t, "replay", "--events", table, "--map", "warehouse:history_events", "--set", "jurisdiction=CN", "--grant", "personalize", "--to", other.url, "--json")
	var a account
	if code != exitDone || json.Unmarshal([]byte(stdout), &a) != nil {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if a.Read != 2 || a.Accepted != 2 {
		t.Errorf("%+v: must be the two rows that were kept", a)
	}
}
