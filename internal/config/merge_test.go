package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sectionOf parses a text that has one section.
func sectionOf(t testing.TB, name, text string) Section {
	t.Helper()
	f, err := Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sections()) != 1 {
		t.Fatalf("%d sections", len(f.Sections()))
	}
	return f.Sections()[0]
}

func TestMerge(t *testing.T) {
	const (
		surfaces = "surfaces:\n  home: {page_size: 20, names: [a, b], seen: {viewed: demote, bought: exclude}, diversify: {method: mmr, lambda: 0.7}}\n  item: {page_size: 12}\n"
		rules    = "rules:\n- {id: one, score: 1, tests: [a]}\n- {id: two, score: 2}\n"
	)
	home := map[string]any{
		"page_size": uint64(20), "names": []any{"a", "b"}, "seen": map[string]any{"viewed": "demote", "bought": "exclude"},
		"diversify": map[string]any{"method": "mmr", "lambda": 0.7},
	}
	with := func(key string, value any) map[string]any {
		changed := map[string]any{}
		for k, v := range home {
			changed[k] = v
		}
		if changed[key] = value; value == nil {
			delete(changed, key)
		}
		return changed
	}
	item := map[string]any{"page_size": uint64(12)}
	one, two := map[string]any{"id": "one", "score": uint64(1), "tests": []any{"a"}}, map[string]any{"id": "two", "score": uint64(2)}
	byID := By{Name: "id"}
	for _, c := range []struct {
		name, builtin, own string
		by                 By
		want               any
		changes            []string
	}{
		{"nothing under the section", surfaces, "surfaces:\n", By{}, map[string]any{"home": home, "item": item}, nil},
		{"one key of an entry", surfaces, "surfaces: {home: {page_size: 9}}", By{}, map[string]any{"home": with("page_size", uint64(9)), "item": item}, []string{"surfaces.home changed: page_size"}},
		{"what is as built in", surfaces, "surfaces: {home: {page_size: 20}}", By{}, map[string]any{"home": home, "item": item}, nil},
		{"a list is replaced", surfaces, "surfaces: {home: {names: [c]}}", By{}, map[string]any{"home": with("names", []any{"c"}), "item": item}, []string{"surfaces.home changed: names"}},
		{
			"a mapping is merged", surfaces, "surfaces: {home: {seen: {viewed: allow}}}",
			By{},
			map[string]any{"home": with("seen", map[string]any{"viewed": "allow", "bought": "exclude"}), "item": item},
			[]string{"surfaces.home changed: seen"},
		},
		{
			"a mapping that is one value", surfaces, "surfaces: {home: {diversify: {method: none}}}",
			By{Whole: []string{"diversify"}},
			map[string]any{"home": with("diversify", map[string]any{"method": "none"}), "item": item},
			[]string{"surfaces.home changed: diversify"},
		},
		{"null removes a key", surfaces, "surfaces: {home: {names: null}}", By{}, map[string]any{"home": with("names", nil), "item": item}, []string{"surfaces.home changed: names"}},
		{"null removes an entry", surfaces, "surfaces:\n  home:\n", By{}, map[string]any{"item": item}, []string{"surfaces.home removed"}},
		{
			"an entry of one's own", surfaces, "surfaces: {mine: {page_size: 3}}",
			By{},
			map[string]any{"home": home, "item": item, "mine": map[string]any{"page_size": uint64(3)}},
			[]string{"surfaces.mine added"},
		},
		{
			"a rule of one's own", rules, "rules:\n- {id: mine, score: 5}\n", byID,
			[]any{one, two, map[string]any{"id": "mine", "score": uint64(5)}},
			[]string{"rules.mine added"},
		},
		{
			"a rule changed", rules, "rules: [{id: one, score: 5}]", byID,
			[]any{map[string]any{"id": "one", "score": uint64(5), "tests": []any{"a"}}, two},
			[]string{"rules.one changed: score"},
		},
		{"a rule removed in a list", rules, "rules: [{one: null}]", byID, []any{two}, []string{"rules.one removed"}},
		{"a rule removed and one added in a mapping", rules, "rules: {one: null, mine: {score: 5}}", byID, []any{two, map[string]any{"id": "mine", "score": uint64(5)}}, []string{"rules.one removed", "rules.mine added"}},
		{"a rule without an id stays, to be told", rules, "rules: [{score: 5}]", byID, []any{one, two, map[string]any{"score": uint64(5)}}, nil},
		{"a value", "clock: wall", "clock: event", By{}, "event", []string{"clock changed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			merged, changes, err := Merge(sectionOf(t, "built.yaml", c.builtin), sectionOf(t, "own.yaml", c.own), c.by)
			if err != nil {
				t.Fatal(err)
			}
			var got any
			if err := merged.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			var lines []string
			for _, change := range changes {
				lines = append(lines, change.String())
			}
			if diff := cmp.Diff(c.changes, lines); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestErrorsOfMergedSections: they name the user's file wherever it has a part in them.
func TestErrorsOfMergedSections(t *testing.T) {
	const rules = "rules:\n\n\n\n\n- {id: one, score: 1, tests: [a]}\n- {id: two, score: 2}\n"
	merged, _, err := Merge(sectionOf(t, "built.yaml", rules), sectionOf(t, "own.yaml", "rules:\n- {id: two, score: 3}\n- id: mine\n  score: 4\n- score: 5\n"), By{Name: "id"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"[1].score":    "own.yaml:2:20: rules.two.score: no",
		"[1].doc":      "own.yaml:2:3: rules.two.doc: no",
		"[2].score":    "own.yaml:4:10: rules.mine.score: no",
		"[3].id":       "own.yaml:5:3: rules[2].id: no",
		"[0].tests[0]": "own.yaml:2:3: rules.one.tests[0]: no (what stands there is built in)",
	} {
		if got := merged.Errorf(path, "no").Error(); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for own, want := range map[string]string{
		"rules: [{twoo: null}]":         "own.yaml:1:10: rules.twoo: null removes what is built in, and must name that; did you mean two?",
		"rules: [{id: a}, {id: a}]":     "own.yaml:1:23: rules[1].id: must be of one entry alone; a stands here twice",
		"rules: {nothing-near: null}":   "own.yaml:1:9: rules.nothing-near: null removes what is built in, and must name that",
		"rules: {one: null, two: null}": "",
	} {
		_, _, err := Merge(sectionOf(t, "built.yaml", rules), sectionOf(t, "own.yaml", own), By{Name: "id"})
		if got := ""; err != nil {
			got = err.Error()
			if got != want {
				t.Errorf("%s: got %q, want %q", own, got, want)
			}
		} else if want != "" {
			t.Errorf("%s: no error", own)
		}
	}
}
