package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sluice/ingest"
	"sluice/internal/crashtest"
)

// TestCompareFinds: whatever is wrong with a purpose's topic is counted as what it is.
func TestCompareFinds(t *testing.T) {
	want := []string{"a", "b", "c"}
	for _, c := range []struct {
		name                               string
		got                                []string
		lost, doubled, illegal, disordered int64
	}{
		{"equal", []string{"a", "b", "c"}, 0, 0, 0, 0},
		{"lost", []string{"a", "c"}, 1, 0, 0, 0},
		{"nothing", nil, 3, 0, 0, 0},
		{"doubled", []string{"a", "b", "b", "c", "a"}, 0, 2, 0, 0},
		{"illegal", []string{"a", "x", "b", "c"}, 0, 0, 1, 0},
		{"lost and doubled", []string{"a", "a", "c"}, 1, 1, 0, 0},
		{"disordered", []string{"a", "c", "b"}, 0, 0, 0, 2},
	} {
		j := &judgement{verdict: new(verdict)}
		j.compare("topic", 1, want, c.got)
		if j.Lost != c.lost || j.Doubled != c.doubled || j.Illegal != c.illegal || j.Disordered != c.disordered {
			t.Errorf("%s: %+v", c.name, *j.verdict)
		}
		if wrong := c.lost+c.doubled+c.illegal+c.disordered > 0; wrong != j.wrong() || wrong == (len(j.problems) == 0) {
			t.Errorf("%s: problems %v", c.name, j.problems)
		}
	}
}

func TestCompareStateFinds(t *testing.T) {
	want := map[string][]byte{"a": {1}, "b": {2}, "c": {3}}
	j := &judgement{verdict: new(verdict)}
	j.compareState("store", want, map[string][]byte{"a": {1}, "b": {9}, "d": {4}})
	if j.WrongKeys != 3 || j.StateKeys != 3 || len(j.problems) != 1 {
		t.Errorf("%+v, %v", *j.verdict, j.problems)
	}
	j = &judgement{verdict: new(verdict)}
	if j.compareState("store", want, want); j.wrong() {
		t.Errorf("%+v", *j.verdict)
	}
}

func TestCompareBytesFinds(t *testing.T) {
	j := &judgement{verdict: new(verdict)}
	one, two := sumOf([]byte("k"), []byte("v")), sumOf([]byte("k"), nil)
	j.compareBytes("topic", 0, []sum{one, two}, []sum{one, two})
	if j.wrong() {
		t.Errorf("%+v", *j.verdict)
	}
	j.compareBytes("topic", 0, []sum{one, two}, []sum{two})
	if j.WrongBytes != 2 {
		t.Errorf("%+v", *j.verdict)
	}
}

// TestEventsAreValid: whatever the load sends, the collector takes.
func TestEventsAreValid(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, user := range []bool{true, false} {
		p := &person{number: 7, user: user, skew: time.Hour, revision: "1-2-3"}
		for _, kind := range shopping {
			for range 5 {
				e := p.capture(random, kind.name, time.Now())
				ev, warnings, fault := ingest.Decode(e.appendTo(nil, time.Now()))
				if fault != nil || len(warnings) > 0 {
					t.Fatalf("%s: %v, %v", kind.name, fault, warnings)
				}
				if person, sequence, ok := parseEventID(ev.Id); !ok || person != 7 || sequence != e.sequence || ingest.Subject(ev) != p.subject() {
					t.Errorf("event %s of %s", ev.Id, ingest.Subject(ev))
				}
			}
		}
	}
	if _, _, ok := parseEventID("probe"); ok {
		t.Error("a probe's event was taken for the load's")
	}
}

func TestTablesNameTypes(t *testing.T) {
	if err := unexpectedType(); err != nil {
		t.Error(err)
	}
}

// TestKafkaMenuNamesItsTargets: every fault that may be drawn has a target that is there.
func TestKafkaMenuNamesItsTargets(t *testing.T) {
	s := new(system)
	for _, r := range roles {
		for i := range copies {
			s.nodes = append(s.nodes, &node{front: r.front, process: crashtest.NewProcess(crashtest.ProcessOptions{Name: nodeName(r.name, i)}), kafka: make([]*crashtest.Proxy, replicas)})
		}
	}
	schedule := crashtest.NewSchedule(1, kafkaMenu(s), 0, 0)
	for range 200 {
		f := schedule.Next()
		if n, part := s.node(f.Target); n == nil || part != "" && part != "kafka" {
			t.Fatalf("%v", f)
		}
		if sort := sortOf(f.Target); strings.ContainsAny(sort, "0123456789-") {
			t.Errorf("%s is of the sort %s", f.Target, sort)
		}
	}
}

func TestQuantiles(t *testing.T) {
	p50, p99, most := quantiles([]time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond})
	if p50 != 2 || p99 != 3 || most != 3 {
		t.Error(p50, p99, most)
	}
	if _, _, most := quantiles(nil); most != 0 {
		t.Error(most)
	}
}
