package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

type surface struct {
	PageSize int      `yaml:"page_size"`
	Names    []string `yaml:"names"`
}

func TestErrorsNameFileLineColumn(t *testing.T) {
	cases := []struct{ name, yaml, want string }{
		{"unknown key", "surfaces:\n  home:\n    page_sze: 3\n", "f.yaml:3:5: surfaces: unknown field \"page_sze\"; see `sluice config print` for the fields"},
		{"broken", "surfaces: [\n", "f.yaml:1:11: sequence end token ']' not found"},
		{"not a mapping", "- a\n", "f.yaml:1:1: a mapping of sections expected"},
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
