package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type surface struct {
	PageSize int      `yaml:"page_size"`
	Names    []string `yaml:"names"`
}

func TestErrorsNameFileLineColumn(t *testing.T) {
	cases := []struct{ name, yaml, want string }{
		{"unknown key", "surfaces:\n  home:\n    page_sze: 3\n", "f.yaml:3:5: surfaces.home.page_sze: unknown key; did you mean page_size?"},
		{"broken", "surfaces: [\n", "f.yaml:1:11: sequence end token ']' not found"},
		{"not a mapping", "- a\n", "f.yaml:1:1: must be a mapping of sections"},
		{"a byte order mark", "\uFEFFsurfaces:\n  home: {page_size: 3}\n", ""},
		{
			"all at once", "surfaces:\n  home: {page_size: x, names: a, colour: red}\n  item: {page_size: {a: 1}}\n",
			"f.yaml:2:21: surfaces.home.page_size: must be a number, not text\n" +
				"f.yaml:2:31: surfaces.home.names: must be a list, not text\n" +
				"f.yaml:2:34: surfaces.home.colour: unknown key; it must be one of names, page_size\n" +
				"f.yaml:3:21: surfaces.item.page_size: must be a number, not a mapping; put text with a colon in quotes",
		},
		{"an alias", "surfaces:\n  home: &h {page_size: 3}\n  item: *h\n", ""},
		{"an alias of nothing", "surfaces:\n  item: *h\n", "f.yaml:2:9: an alias must name an anchor that stands before it"},
		{"a merge key", "surfaces:\n  home: &h {page_size: 3}\n  item: {<<: *h, names: [a]}\n", ""},
		{"too deep", strings.Repeat("[", 300), "f.yaml: must not be nested more than 200 deep"},
		{"twice", "surfaces:\n  home: {page_size: 3, page_size: 4}\n", "f.yaml:2:24: a key must stand once in its mapping; this one stands at 2:10 already"},
		{"good", "surfaces:\n  home: {page_size: 3}\n", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, decode(c.yaml)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func decode(text string) string {
	f, err := Parse("f.yaml", []byte(text))
	if err != nil {
		return err.Error()
	}
	s, _ := f.Section("surfaces")
	var into map[string]surface
	if err := s.Decode(&into); err != nil {
		return err.Error()
	}
	return ""
}

func TestErrorfFindsThePath(t *testing.T) {
	f, err := Parse("f.yaml", []byte("# c\nsurfaces:\n  home:\n    page_size: 3\n    names:\n      - a\n      - b\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := f.Section("surfaces")
	if !ok {
		t.Fatal("no section")
	}
	for path, want := range map[string]string{
		".home.page_size": "f.yaml:4:16: surfaces.home.page_size: no",
		".home.names[1]":  "f.yaml:7:9: surfaces.home.names[1]: no",
		".home.missing.x": "f.yaml:4:5: surfaces.home.missing.x: no",
		"":                "f.yaml:3:3: surfaces: no",
	} {
		if got := s.Errorf(path, "no").Error(); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

// FuzzConfig: any text is an error or can be read and merged, and nothing panics.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"surfaces:\n  home: {page_size: 3, names: [a]}\n", "surfaces: [\n", "surfaces:\n  home: null\n", "rules:\n- id: a\n- {b: null}\n", "a: &x {b: 1}\nc: {<<: *x, d: *x}\n",
		"\uFEFFclock: wall\n", "surfaces: !!map {home: !!int 3}\n", "? [a]\n: b\n", "surfaces:\n  home: {page_size: 99999999999999999999}\n", "a: |\n  text\n--- \nb: 1\n", "surfaces: {home: &h {names: *h}}\n",
	} {
		f.Add(seed)
	}
	builtin := map[string]Section{
		"surfaces": sectionOf(f, "built.yaml", "surfaces:\n  home: {page_size: 20, names: [a, b]}\n"), "rules": sectionOf(f, "built.yaml", "rules:\n- {page_size: 2, id: a}\n"),
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("f.yaml", []byte(text))
		if err != nil {
			return
		}
		_ = file.Allow("surfaces", "rules")
		for _, own := range file.Sections() {
			under, known := builtin[own.Name]
			if !known {
				under = builtin["surfaces"]
			}
			merged, changes, err := Merge(under, own, By{Name: "id", Whole: []string{"names"}})
			if err == nil && len(changes) > 0 && changes[0].Kind == "" {
				t.Error("a change of no kind")
			}
			var bySurface map[string]surface
			var list []struct {
				ID string `yaml:"id"`
				surface
			}
			for _, into := range []any{&bySurface, &list} {
				if err := merged.Decode(into); err != nil && err.Error() == "" {
					t.Error("an error without words")
				}
			}
			_ = merged.Errorf(".home.names[0]", "no").Error() + merged.Errorf("[1].id", "no").Error()
		}
	})
}
