package risk

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGuideNamesTheFields: the analyst's guide lists the texts that a rule may read, all of them and no other.
func TestGuideNamesTheFields(t *testing.T) {
	guide, err := os.ReadFile("../docs/risk-analyst.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, f := range fields {
		if f.kind == textKind {
			want = append(want, f.name)
		}
	}
	row := regexp.MustCompile(`(?m)^\| texts \|.*$`).Find(guide)
	for _, name := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(row, -1) {
		got = append(got, string(name[1]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
