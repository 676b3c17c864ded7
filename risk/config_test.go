package risk

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the messages that testdata/bad expects")

// TestBadRules loads every file of testdata/bad. Its first line holds the whole message that is expected.
func TestBadRules(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(paths) < 30 {
		t.Fatal(len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			text := readFile(t, path)
			_, err := Load(sectionsOf(t, filepath.Base(path), text), featureNames)
			if err == nil {
				t.Fatal("the file was loaded")
			}
			first, rest, _ := strings.Cut(text, "\n")
			want := strings.TrimPrefix(first, "# ")
			if *update {
				if err := os.WriteFile(path, []byte("# "+err.Error()+"\n"+rest), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDefaultsLoad(t *testing.T) {
	c := load(t, "")
	if len(c.rules) < 8 || c.ttl != 15*time.Minute {
		t.Errorf("%d rules, %v", len(c.rules), c.ttl)
	}
}

func TestPolicyVersionIsThatOfTheContent(t *testing.T) {
	rules := "rules:" + ruleText("a", "order.value > 5", "block", "10", "live")
	version := load(t, rules).PolicyVersion()
	if !strings.HasPrefix(version, "sha256:") || len(version) != len("sha256:")+64 {
		t.Fatal(version)
	}
	if other := load(t, "# a comment\n"+strings.ReplaceAll(rules, "score: 10", "score:   10")).PolicyVersion(); other != version {
		t.Error("the layout changes the version")
	}
	for _, changed := range []string{
		strings.ReplaceAll(rules, "> 5", "> 6"), strings.ReplaceAll(rules, "score: 10", "score: 11"), rules + "\ndecisions: {ttl: 1h, score: {}}",
		rules + ruleText("b", "order.value > 5", "block", "10", "live"),
	} {
		if load(t, changed).PolicyVersion() == version {
			t.Errorf("the version does not change with the content:\n%s", changed)
		}
	}
}

func TestExpiredRulesAreNamed(t *testing.T) {
	c := load(t, "rules:"+ruleText("a", "order.value > 5", "block", "10", "live"))
	for at, want := range map[string]int{"2026-12-31T23:59:59Z": 0, "2027-01-01T00:00:00Z": 1} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Expired(now.UnixMicro()); len(got) != want {
			t.Errorf("%s: expired %v", at, got)
		}
	}
}
