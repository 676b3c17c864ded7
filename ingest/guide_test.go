package ingest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestGuideNamesTheFields: the storefront's guide names every field of an event.
func TestGuideNamesTheFields(t *testing.T) {
	text, err := os.ReadFile("../docs/storefront.md")
	if err != nil {
		t.Fatal(err)
	}
	_, guide, _ := strings.Cut(string(text), "\n### Fields\n")
	guide, _, _ = strings.Cut(guide, "\n### ")
	for _, f := range Fields.Fields {
		row := regexp.MustCompile("(?m)^\\|.*`" + f.Name + "(\\[\\])?`.*$").FindString(guide)
		if row == "" {
			t.Errorf("no row names %s", f.Name)
		}
		if f.Message == nil {
			continue
		}
		for _, inner := range f.Message.Fields {
			if !regexp.MustCompile(`\b` + inner.Name + `\b`).MatchString(row) {
				t.Errorf("the row of %s does not name %s", f.Name, inner.Name)
			}
		}
	}
}
