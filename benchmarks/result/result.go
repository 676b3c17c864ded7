// Package result keeps what benchmarks measured, one JSON line a scenario, and shows it as tables.
package result

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sluice/systemtest/run"
)

// Line is what one scenario measured, several times.
type Line struct {
	run.Head
	Version  string  `json:"version"` // of the program that was measured
	Scenario string  `json:"scenario"`
	Settings string  `json:"settings"` // what differs from the scenario's own
	Seconds  float64 `json:"seconds"`  // that all runs took together
	Values   []Value `json:"values"`
}

// Value is one figure, once a run.
type Value struct {
	Name string    `json:"name"`
	Unit string    `json:"unit"`
	Runs []float64 `json:"runs"`
}

// Add adds a run's figure.
func (l *Line) Add(name, unit string, figure float64) {
	i := slices.IndexFunc(l.Values, func(v Value) bool { return v.Name == name })
	if i < 0 {
		i = len(l.Values)
		l.Values = append(l.Values, Value{Name: name, Unit: unit})
	}
	l.Values[i].Runs = append(l.Values[i].Runs, figure)
}

// Value finds a figure by its name.
func (l *Line) Value(name string) (v Value, ok bool) {
	i := slices.IndexFunc(l.Values, func(v Value) bool { return v.Name == name })
	if i < 0 {
		return v, false
	}
	return l.Values[i], true
}

// Median of the runs; of an even number, the mean of the two in the middle. 0 if there is none.
func (v Value) Median() float64 {
	if len(v.Runs) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(v.Runs))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Append appends the line to a file.
func Append(path string, l *Line) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Close())
}

// Read reads a file of lines and keeps the newest of each scenario, in the order in which they first came.
func Read(path string) (lines []*Line, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		l := new(Line)
		if err := json.Unmarshal(in.Bytes(), l); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if i := slices.IndexFunc(lines, func(o *Line) bool { return o.Scenario == l.Scenario }); i >= 0 {
			lines[i] = l
		} else {
			lines = append(lines, l)
		}
	}
	return lines, in.Err()
}

// Table writes what was measured as Markdown: medians, and the least and the greatest run.
func Table(w io.Writer, lines []*Line, doc func(scenario string) string) {
	for _, l := range lines {
		fmt.Fprintf(w, "\n## %s\n\n%s\n\n`%s`, %s, %s%s\n\n", l.Scenario, doc(l.Scenario), l.Version, l.Machine, l.Date, settings(l.Settings))
		fmt.Fprintf(w, "| figure | median | runs | |\n|---|---|---|---|\n")
		for _, v := range l.Values {
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", v.Name, number(v.Median()), spread(v.Runs), v.Unit)
		}
	}
}

// Compare writes two files' figures beside each other. Change is new to old. It says which scenarios were measured in different sizes.
func Compare(w io.Writer, before, after []*Line) {
	fmt.Fprintln(w, "| scenario | figure | before | after | change | |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	var notes []string
	for _, l := range after {
		old := new(Line)
		if i := slices.IndexFunc(before, func(o *Line) bool { return o.Scenario == l.Scenario }); i >= 0 {
			if old = before[i]; old.Settings != l.Settings {
				notes = append(notes, fmt.Sprintf("%s was measured in different sizes: before %q, after %q.", l.Scenario, old.Settings, l.Settings))
			}
		}
		for _, v := range l.Values {
			was, change := "–", ""
			if o, ok := old.Value(v.Name); ok {
				was = with(o)
				if o.Median() != 0 {
					change = "× " + number(v.Median()/o.Median())
				}
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", l.Scenario, v.Name, was, with(v), change, v.Unit)
		}
	}
	for _, note := range notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
}

func settings(text string) string {
	if text == "" {
		return ""
	}
	return ", " + text
}

// with is the median, and the spread where there are several runs.
func with(v Value) string {
	if len(v.Runs) < 2 {
		return number(v.Median())
	}
	return fmt.Sprintf("%s (%s)", number(v.Median()), spread(v.Runs))
}

func spread(runs []float64) string {
	if len(runs) < 2 {
		return "1"
	}
	return fmt.Sprintf("%s–%s of %d", number(slices.Min(runs)), number(slices.Max(runs)), len(runs))
}

// number writes three digits that count, and thousands apart.
func number(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f < 0:
		return "−" + number(-f)
	case f < 10:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", f), "0"), ".")
	case f < 1000:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
	}
	text := fmt.Sprintf("%.0f", f)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
