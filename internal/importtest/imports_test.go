// Package importtest holds the table of rooms: which may import which.
package importtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rooms lists what each room may import beside itself. benchmarks and systemtest may import everything.
var rooms = map[string][]string{
	"internal":      {},
	"ingest":        {"internal"},
	"privacyfilter": {"internal", "ingest"},
	"replay":        {"internal", "ingest", "privacyfilter"},
	"features":      {"internal", "privacyfilter"},
	"recommend":     {"internal", "privacyfilter", "features"},
	"risk":          {"internal", "privacyfilter", "features"},
	"deploy":        {"internal"},
	"demo":          {"internal"},
	"app":           {"internal", "ingest", "privacyfilter", "features", "recommend", "risk", "demo"},
	"cmd":           {"internal", "ingest", "privacyfilter", "replay", "app"},
}

// rawEvent is the package of stored raw events: beside ingest, which makes them, only privacyfilter may open them.
const rawEvent = "sluice/ingest/eventpb"

// schema is a package of SQL files and nothing else, which the adapter that applies them embeds.
const schema = "sluice/deploy/clickhouse"

// heavy dependencies stay in adapter packages; system tests look at what stands there from outside.
var heavy = map[string][]string{
	"github.com/parquet-go/parquet-go":       {"sluice/replay/parquet", "sluice/internal/warehouse/parquet"},
	"github.com/ClickHouse/clickhouse-go/v2": {"sluice/replay/clickhouse", "sluice/internal/warehouse/clickhouse"},
	"github.com/ClickHouse/ch-go/proto":      {"sluice/deploy/local/clickhouse/engine"},
	"github.com/cockroachdb/pebble/v2":       {"sluice/internal/stream"},
	"github.com/dgraph-io/ristretto/v2":      {"sluice/features/spill"},
	"github.com/expr-lang/expr":              {"sluice/risk"},
	"github.com/twmb/franz-go/pkg/kfake":     {"sluice/internal/broker"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		room := roomOf(p.ImportPath)
		allowed, bound := rooms[room]
		for _, imported := range p.Imports {
			homes, ok := heavy[imported]
			if ok && room != "systemtest" && !slices.ContainsFunc(homes, func(home string) bool { return strings.HasPrefix(p.ImportPath, home) }) {
				t.Errorf("%s imports %s, which belongs in %v", p.ImportPath, imported, homes)
			}
			if !bound || !strings.HasPrefix(imported, "sluice/") || imported == schema {
				continue
			}
			if to := roomOf(imported); to != room && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: %s may import only %v", p.ImportPath, imported, room, allowed)
			}
			if imported == rawEvent && room != "ingest" && room != "privacyfilter" {
				t.Errorf("%s opens raw events", p.ImportPath)
			}
		}
	}
}

// TestRoomsCoverTheTree fails when a new top-level folder is in no row of the table.
func TestRoomsCoverTheTree(t *testing.T) {
	for _, p := range packages(t) {
		room := roomOf(p.ImportPath)
		if _, ok := rooms[room]; !ok && room != "benchmarks" && room != "systemtest" {
			t.Errorf("%s is in no room", p.ImportPath)
		}
	}
}

func roomOf(path string) string {
	room, _, _ := strings.Cut(strings.TrimPrefix(path, "sluice/"), "/")
	return room
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "sluice/...").Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	var all []goPackage
	for {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
