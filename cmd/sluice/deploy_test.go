package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readAlerts is the file of the alert rules.
func readAlerts(t *testing.T) string {
	t.Helper()
	alerts, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(alerts)
}

// alertSeries are the counters and gauges that the alerts watch, each with the label that they ask for. A histogram has no series before it has an observation, and
// an alert on its quantile needs none.
func alertSeries(t *testing.T) (series [][2]string) {
	t.Helper()
	for _, rule := range regexp.MustCompile(`(?m)^ *expr: (.*)$`).FindAllStringSubmatch(readAlerts(t), -1) {
		for _, match := range regexp.MustCompile(`(sluice_[a-z_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(rule[1], -1) {
			if !strings.HasSuffix(match[1], "_bucket") {
				series = append(series, [2]string(match[1:]))
			}
		}
	}
	if len(series) < 15 {
		t.Fatalf("series of the alerts: %v", series)
	}
	return series
}

// TestDeploy holds the files under deploy to what the program is: the example loads, and every metric of the alerts is in the operator's guide.
func TestDeploy(t *testing.T) {
	stdout, stderr, code := sluice(t, "config", "check", "../../deploy/sluice.yaml")
	if code != 0 || !strings.Contains(stdout, "valid") {
		t.Errorf("the example: exit code %d: %s%s", code, stdout, stderr)
	}
	guide := readGuides(t)["operator.md"]
	names := regexp.MustCompile(`sluice_[a-z_]+`).FindAllString(readAlerts(t), -1)
	if len(names) == 0 {
		t.Error("no metrics in the alerts")
	}
	for _, name := range names {
		if name = strings.TrimSuffix(name, "_bucket"); !strings.Contains(guide, "`"+name+"`") {
			t.Errorf("alerts.yaml asks for %s, which the operator's guide does not name", name)
		}
	}
}
