package recommend

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/features/items"
	"sluice/recommend/rank"
)

var update = flag.Bool("update", false, "write the messages that testdata expects")

func TestDefaultsLoad(t *testing.T) {
	c, err := load(t, string(Defaults))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"cart", "category", "feed", "home", "item", "search", "similar"}, c.Surfaces()); diff != "" {
		t.Error(diff)
	}
	home, _ := c.Surface("home")
	if diff := cmp.Diff([]rank.Rule{{AtMost: 3, Within: 6, Same: rank.Category}}, home.Rules); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Retriever{Name: "co_visitation", Candidates: 200, Weight: 0.6, HalfLife: 7 * 24 * time.Hour}, home.Personal[1]); diff != "" {
		t.Error(diff)
	}
}

// TestContractExample loads the example of the contract as it stands there.
func TestContractExample(t *testing.T) {
	c, err := load(t, `
surfaces:                          # order in the file = order of execution
  home:
    page_size: 20
    personal:
      - {retriever: session_knn, candidates: 200, weight: 1.0, neighbours: 100}
      - {retriever: co_visitation, candidates: 200, weight: 0.6, half_life: 7d}
      - {retriever: popular, candidates: 100, weight: 0.1}
    non_personal:                  # a retriever that needs personalize here is a load error
      - {retriever: trending, candidates: 300}
    seen: {viewed: demote, purchased: exclude}      # allow | demote | exclude
    require:                       # promises; what cannot be met is reported in relaxed
      - {at_most: 2, same: category, within: 6}      # in any 6 consecutive slots, across pages
    diversify: {method: mmr, lambda: 0.7, similarity: category}      # preference, within the promises
`)
	if err != nil {
		t.Fatal(err)
	}
	home, _ := c.Surface("home")
	want := &Surface{
		Name: "home", PageSize: 20, Viewed: Demote, Purchased: Exclude, Rules: []rank.Rule{{AtMost: 2, Within: 6, Same: rank.Category}},
		Personal: []Retriever{
			{Name: "session_knn", Candidates: 200, Weight: 1, KNN: items.KNN{
				Items: 10, Sample: 250, Neighbours: 100, HalfLife: 60 * 24 * time.Hour, Decay: 1.5, Distance: 3, Rarity: 0.5,
			}},
			{Name: "co_visitation", Candidates: 200, Weight: 0.6, HalfLife: 7 * 24 * time.Hour},
			{Name: "popular", Candidates: 100, Weight: 0.1},
		},
		NonPersonal: []Retriever{{Name: "trending", Candidates: 300, Weight: 1}},
		Diversity:   Diversity{Method: "mmr", Lambda: 0.7, Similarity: "category"},
	}
	if diff := cmp.Diff(want, home); diff != "" {
		t.Error(diff)
	}
	if _, ok := c.Surface(similarSurface); !ok {
		t.Error("there is no surface for similar items")
	}
}

// TestBadFiles loads testdata/*.bad.yaml: the first line of each is the error that it must give, as a comment.
func TestBadFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal("no test files", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".bad.yaml"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(data), "\n")
			_, err = load(t, string(data))
			if err == nil {
				t.Fatal("it loads")
			}
			if *update {
				_, rest, _ := strings.Cut(string(data), "\n")
				if err := os.WriteFile(name, []byte("# "+err.Error()+"\n"+rest), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.TrimPrefix(first, "# "), err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheVersionIsOfWhatCounts(t *testing.T) {
	version := func(text string) string {
		c, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		return c.Version()
	}
	plain := version("surfaces:\n  home: {page_size: 20, non_personal: [{retriever: popular, candidates: 9}]}\n")
	spelledOut := version("surfaces:\n  # a comment\n  home:\n    page_size: 20\n    non_personal:\n      - {retriever: popular, candidates: 9, weight: 1.0}\n    seen: {viewed: allow}\n    diversify: {method: none}\n")
	other := version("surfaces:\n  home: {page_size: 20, non_personal: [{retriever: popular, candidates: 10}]}\n")
	if plain != spelledOut || plain == other || !strings.HasPrefix(plain, "sha256:") || len(plain) != 71 {
		t.Errorf("versions: %s %s %s", plain, spelledOut, other)
	}
}
