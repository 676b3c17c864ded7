package features

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/internal/config"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/purposepb"
)

// fataler is a *testing.T, *testing.B or *rapid.T.
type fataler interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// sectionsOf looks sections up in files, the last one first.
func sectionsOf(t fataler, files ...string) func(string) config.Section {
	sections := make(map[string]config.Section)
	for i, text := range files {
		f, err := config.Parse([]string{"features.yaml", "test.yaml"}[i], []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Sections() {
			sections[s.Name] = s
		}
	}
	return func(name string) config.Section { return sections[name] }
}

func register(t fataler) *privacyfilter.Register {
	reg, err := privacyfilter.Load(sectionsOf(t, string(privacyfilter.Defaults)))
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// testConfig is the built-in configuration with changes (old, new, old, new …).
func testConfig(t fataler, changes ...string) *Config {
	text := string(Defaults)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("features.yaml does not hold %q", changes[i])
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	c, err := Load(sectionsOf(t, text), register(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// harness drives an engine and feeds its changelog to a view.
type harness struct {
	t         fataler
	task      *stream.Task
	processor stream.Processor
	apply     func([]stream.Record)
	log       []stream.Record // everything that the changelog got
}

func newHarness(t fataler, e stream.Engine, apply func([]stream.Record)) *harness {
	task := stream.NewTask(0)
	processor, err := e.Open(task)
	if err != nil {
		t.Fatal(err)
	}
	return &harness{t: t, task: task, processor: processor, apply: apply}
}

type marshaler interface{ MarshalVT() ([]byte, error) }

func (h *harness) send(key []byte, m marshaler) {
	value, err := m.MarshalVT()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.processor.Process(&stream.Record{Topic: "in", Key: key, Value: value}); err != nil {
		h.t.Fatal(err)
	}
}

// commit ends a transaction.
func (h *harness) commit() {
	changes := h.task.Changes()
	if err := h.task.Err(); err != nil {
		h.t.Fatal(err)
	}
	h.log = append(h.log, changes...)
	if h.apply != nil {
		h.apply(changes)
	}
}

// compacted is the newest record of each key, in the order of keys: what a restored view reads.
func (h *harness) compacted() []stream.Record {
	newest := make(map[string]stream.Record)
	for _, r := range h.log {
		newest[string(r.Key)] = r
	}
	var out []stream.Record
	for _, r := range newest {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b stream.Record) int { return cmp.Compare(string(a.Key), string(b.Key)) })
	return out
}

// state is the changelog's newest values, deleted ones left out, as text.
func (h *harness) state() map[string]string {
	out := make(map[string]string)
	for _, r := range h.compacted() {
		if r.Value != nil {
			out[hex.EncodeToString(r.Key)] = hex.EncodeToString(r.Value)
		}
	}
	return out
}

// id is a pseudonym: 16 bytes that differ by kind and number, as uniform as real ones.
func id(kind byte, n int) []byte {
	random := rand.NewPCG(uint64(kind), uint64(n))
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, random.Uint64()), random.Uint64())
}

func identity(subject int, floor string) consent.Identity {
	return consent.Identity{Subject: [16]byte(id('u', subject)), Floor: []byte(floor)}
}

func itemsOf(names ...string) []*vocab.Item {
	var out []*vocab.Item
	for _, n := range names {
		out = append(out, &vocab.Item{ItemId: n})
	}
	return out
}

// personalEvent is a subject's event number n at a time, under floor "f".
func personalEvent(subject, n int, typ vocab.Type, time int64, items ...string) *purposepb.PersonalEvent {
	return &purposepb.PersonalEvent{
		Subject: id('u', subject), Event: id('e', n), Type: typ, Time: time, Items: itemsOf(items...), Floor: []byte("f"),
	}
}

func (h *harness) personal(ev *purposepb.PersonalEvent) {
	h.send(ev.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Event{Event: ev}})
}

func (h *harness) purgePersonal(purge *purposepb.Purge) {
	h.send(purge.Subject, &purposepb.PersonalRecord{Of: &purposepb.PersonalRecord_Purge{Purge: purge}})
}

// day0 is where tests begin: 2026-01-01.
const day0 = int64(1_767_225_600_000_000)

var benchmarkSink any

func reportPerEvent(b *testing.B, total int64) {
	b.Helper()
	b.ReportMetric(float64(total)/float64(b.N), "changelog-B/op")
}

// narrowRegister is the built-in register, where one field is collected for nobody.
func narrowRegister(t fataler, field string) *privacyfilter.Register {
	text := string(privacyfilter.Defaults)
	at := strings.Index(text, "\n  "+field+":")
	if at < 0 {
		t.Fatalf("the register does not hold %s", field)
	}
	rest := text[at:]
	from := strings.Index(rest, "collected_for: [")
	to := from + strings.Index(rest[from:], "]")
	text = text[:at] + rest[:from] + "collected_for: [" + rest[to:]
	reg, err := privacyfilter.Load(sectionsOf(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func identityOf(ev *purposepb.PersonalEvent) consent.Identity {
	return consent.Identity{Subject: [16]byte(ev.Subject), Floor: ev.Floor}
}
