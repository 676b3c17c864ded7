package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// alertCounters are the counters that the alerts watch, with the labels that they ask for.
func alertCounters(t *testing.T) []string {
	t.Helper()
	alerts, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile(`(?:increase|rate)\((sluice_[a-z_]+_total)(?:\{([^}]*)\})?\[`).FindAllStringSubmatch(string(alerts), -1) {
		found = append(found, match[1]+" "+match[2])
	}
	if len(found) < 5 {
		t.Fatalf("counters of the alerts: %v", found)
	}
	return found
}

// TestDeploy holds the files under deploy to what the program is: the example loads, and every metric of the alerts is in the operator's guide.
func TestDeploy(t *testing.T) {
	stdout, stderr, code := sluice(t, "config", "check", "../../deploy/sluice.yaml")
	if code != 0 || !strings.Contains(stdout, "valid") {
		t.Errorf("the example: exit code %d: %s%s", code, stdout, stderr)
	}
	alerts, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	guide := readGuides(t)["operator.md"]
	names := regexp.MustCompile(`sluice_[a-z_]+`).FindAllString(string(alerts), -1)
	if len(names) == 0 {
		t.Error("no metrics in the alerts")
	}
	for _, name := range names {
		if name = strings.TrimSuffix(name, "_bucket"); !strings.Contains(guide, "`"+name+"`") {
			t.Errorf("alerts.yaml asks for %s, which the operator's guide does not name", name)
		}
	}
}
