package crash

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sluice/ingest"
	"sluice/internal/process"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/systemtest/fault"
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
			s.nodes = append(s.nodes, &node{front: r.front, process: process.New(process.Options{Name: nodeName(r.name, i)}), kafka: make([]*fault.Proxy, replicas)})
		}
	}
	schedule := fault.NewSchedule(1, kafkaMenu(s), 0, 0)
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

// TestOnlyNarrowsTheMenu: -only leaves the targets that it names, and refuses to name none.
func TestOnlyNarrowsTheMenu(t *testing.T) {
	menu := []fault.Choice{{Kind: fault.Kill, Targets: []string{"front-0", "filter-0"}, Weight: 1}, {Kind: fault.Stall, Targets: []string{"front-0:kafka"}, Weight: 1}}
	for only, want := range map[string]string{"": "kill[front-0 filter-0] stall[front-0:kafka]", "front": "kill[front-0] stall[front-0:kafka]", "^stall": "stall[front-0:kafka]"} {
		left, err := narrowed(menu, only)
		var got []string
		for _, c := range left {
			got = append(got, fmt.Sprint(string(c.Kind), c.Targets))
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("-only %q: %v (%v), want %s", only, got, err, want)
		}
	}
	for _, only := range []string{"pause", "("} {
		if _, err := narrowed(menu, only); err == nil {
			t.Errorf("-only %q is taken", only)
		}
	}
}

// TestPromisesFinds: an event that is missing is lost, unless the log has a denial too many, and one for each such event.
func TestPromisesFinds(t *testing.T) {
	for _, c := range []struct {
		name                  string
		events                []status
		there, overtaken      []int // sequence numbers
		onLog, acknowledged   int   // denials
		lost, illegal, beaten int64
	}{
		{"kept", []status{acked | must, acked | mustNot}, []int{0}, nil, 1, 1, 0, 0, 0},
		{"lost", []status{acked | must}, nil, nil, 1, 0, 1, 0, 0},
		{"illegal", []status{acked | mustNot}, []int{0}, nil, 1, 1, 0, 1, 0},
		{"overtaken", []status{acked | must}, nil, []int{0}, 1, 0, 0, 0, 1},
		{"overtaken by nothing", []status{acked | must}, nil, []int{0}, 1, 1, 1, 0, 0},
		{"overtaken twice by one", []status{acked | must, acked | must}, nil, []int{0, 1}, 2, 1, 1, 0, 1},
		{"overtaken the wrong way", []status{acked | mustNot}, []int{0}, []int{0}, 2, 1, 0, 1, 0},
	} {
		p := &person{number: 7, user: true, events: c.events, denials: c.acknowledged}
		o := newOracle(seal.NewKeyring([32]byte{1}))
		for n := range c.onLog {
			o.of(p.subject()).denials[int64(n)] = true
		}
		var events [stream.Partitions][]string
		for _, sequence := range c.there {
			id := eventID(7, sequence)
			o.personal[id] = id
			events[3] = append(events[3], id)
		}
		for _, sequence := range c.overtaken {
			o.overtaken[eventID(7, sequence)] = true
		}
		j := &judgement{verdict: new(verdict), oracle: o, load: &load{togglers: []*person{p}}}
		j.promises(events)
		if j.Lost != c.lost || j.Illegal != c.illegal || j.Overtaken != c.beaten {
			t.Errorf("%s: %+v", c.name, *j.verdict)
		}
	}
}

// TestOracleKnowsLatePermissions: one that did not know the newest denial has no effect; a late denial has.
func TestOracleKnowsLatePermissions(t *testing.T) {
	text := func(s string) *string { return &s }
	l := newOracle(seal.NewKeyring([32]byte{1})).of("u:p1")
	l.choose(record{5, 5}, true, text(""))
	l.choose(record{6, 6}, false, text("1-0-5"))
	for _, step := range []struct {
		offset int64
		allow  bool
		known  *string
		want   int
	}{
		{7, true, text("1-0-5"), -1},
		{8, true, text(""), -1},
		{9, true, text("1-0-6"), 1},
		{10, false, text("1-0-5"), -1},
		{11, true, text("1-0-9"), -1},
		{12, true, text("1-0-10"), 1},
		{13, false, nil, -1},
		{14, true, nil, 1},
	} {
		if l.choose(record{step.offset, step.offset}, step.allow, step.known); l.choice != step.want {
			t.Errorf("at %d: %d, want %d", step.offset, l.choice, step.want)
		}
	}
	if len(l.denials) != 3 || l.denied.offset != 13 {
		t.Errorf("%+v", *l)
	}
	for _, c := range []struct {
		denial record
		want   bool
	}{{record{15, 13}, true}, {record{15, 14}, false}, {record{15, 16}, false}} { // received before the allow at 14, with it, after it
		l.choose(record{14, 14}, true, nil)
		l.choose(c.denial, false, nil)
		if l.overtaken(14) != c.want || l.overtaken(3) {
			t.Errorf("a denial received at %d: overtaken %v", c.denial.received, !c.want)
		}
	}
}
