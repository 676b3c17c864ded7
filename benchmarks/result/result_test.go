package result

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		runs []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := (Value{Runs: c.runs}).Median(); got != c.want {
			t.Errorf("%v: %v", c.runs, got)
		}
	}
}

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{0: "0", .25: "0.25", 9.0004: "9", 12.34: "12.3", 99: "99", 1234567: "1,234,567", 1000: "1,000", -1500: "−1,500"} {
		if got := number(f); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}

// TestTheNewestLineCounts: a file may hold a scenario twice; tables show the newest of each, and a figure that is new has no change.
func TestTheNewestLineCounts(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, lines ...*Line) []*Line {
		path := filepath.Join(dir, name)
		for _, l := range lines {
			if err := Append(path, l); err != nil {
				t.Fatal(err)
			}
		}
		read, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		return read
	}
	line := func(scenario string, name string, figures ...float64) *Line {
		l := &Line{Scenario: scenario}
		for _, f := range figures {
			l.Add(name, "ms", f)
		}
		return l
	}
	before := write("old", line("home", "p99", 100), line("path", "p99", 7), line("home", "p99", 60, 80))
	before[0].Settings = "people 10"
	after := write("new", line("home", "p99", 7, 7.2), line("clicks", "p99", 3))
	var table, compared strings.Builder
	Table(&table, before, func(s string) string { return "About " + s + "." })
	Compare(&compared, before, after)
	for _, want := range []string{"## home\n\nAbout home.", "| p99 | 70 | 60–80 of 2 | ms |", "| p99 | 7 | 1 | ms |"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is not in\n%s", want, &table)
		}
	}
	for _, want := range []string{"| home | p99 | 70 (60–80 of 2) | 7.1 (7–7.2 of 2) | × 0.101 | ms |", `home was measured in different sizes: before "people 10", after "".`, "| clicks | p99 | – | 3 |  | ms |"} {
		if !strings.Contains(compared.String(), want) {
			t.Errorf("%q is not in\n%s", want, &compared)
		}
	}
}
