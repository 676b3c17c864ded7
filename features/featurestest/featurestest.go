// Package featurestest drives feature engines and views in tests.
package featurestest

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/features/spec"
	"sluice/internal/config"
	"sluice/internal/stream"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
)

// T is a *testing.T, *testing.B or *rapid.T.
type T interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Sections looks sections up in files, the last one first.
func Sections(t T, files ...string) func(string) config.Section {
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

// Register is the built-in register.
func Register(t T) *privacyfilter.Register {
	reg, err := privacyfilter.Load(Sections(t, string(privacyfilter.Defaults)))
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// Config is the built-in configuration with changes (old, new, old, new …).
func Config(t T, changes ...string) *spec.Config {
	text := string(spec.Defaults)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("features.yaml does not hold %q", changes[i])
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	c, err := spec.Load(Sections(t, text), Register(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Harness drives an engine and feeds its changelog to a view.
type Harness struct {
	t         T
	Task      *stream.Task
	Processor stream.Processor
	Apply     func([]stream.Record)
	Log       []stream.Record // everything that the changelog got
}

// New opens the engine on a task without a store; what it writes goes to apply, nil = nowhere.
func New(t T, e stream.Engine, apply func([]stream.Record)) *Harness {
	task := stream.NewTask(0)
	processor, err := e.Open(task)
	if err != nil {
		t.Fatal(err)
	}
	return &Harness{t: t, Task: task, Processor: processor, Apply: apply}
}

// Message is a record's value.
type Message interface{ MarshalVT() ([]byte, error) }

// Send processes one record.
func (h *Harness) Send(key []byte, m Message) {
	value, err := m.MarshalVT()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.Processor.Process(&stream.Record{Topic: "in", Key: key, Value: value}); err != nil {
		h.t.Fatal(err)
	}
}

// Commit ends a transaction.
func (h *Harness) Commit() {
	changes := h.Task.Changes()
	if err := h.Task.Err(); err != nil {
		h.t.Fatal(err)
	}
	h.Log = append(h.Log, changes...)
	if h.Apply != nil {
		h.Apply(changes)
	}
}

// Compacted is the newest record of each key, in the order of keys: what a restored view reads.
func (h *Harness) Compacted() []stream.Record {
	newest := make(map[string]stream.Record)
	for _, r := range h.Log {
		newest[string(r.Key)] = r
	}
	var out []stream.Record
	for _, r := range newest {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b stream.Record) int { return cmp.Compare(string(a.Key), string(b.Key)) })
	return out
}

// Compared is what a digest compares of the changelog, as text: what depends on neither order nor transactions.
func (h *Harness) Compared(project stream.Projection) map[string]string {
	horizon := int64(math.MinInt64)
	var pairs []stream.Pair
	for _, r := range h.Compacted() {
		if r.Value == nil {
			continue
		}
		project(r.Key[0], r.Key[1:], r.Value, func(p stream.Pair) {
			if p.Store == stream.Horizon {
				horizon = p.At
			} else {
				pairs = append(pairs, p)
			}
		})
	}
	out := make(map[string]string)
	for _, p := range pairs {
		if p.At == 0 || p.At >= horizon {
			out[p.Store+" "+hex.EncodeToString(p.Key)] = hex.EncodeToString(p.Value)
		}
	}
	return out
}

// Keys are the keys that the changelog holds in the end.
func (h *Harness) Keys() [][]byte {
	var out [][]byte
	for _, r := range h.Compacted() {
		if r.Value != nil {
			out = append(out, r.Key)
		}
	}
	return out
}

// ID is a pseudonym: 16 bytes that differ by kind and number, as uniform as real ones.
func ID(kind byte, n int) []byte {
	random := rand.NewPCG(uint64(kind), uint64(n))
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, random.Uint64()), random.Uint64())
}

// Identity is subject number so and so under a floor.
func Identity(subject int, floor string) consent.Identity {
	return consent.Identity{Subject: [16]byte(ID('u', subject)), Floor: []byte(floor)}
}

// Items are items by name.
func Items(names ...string) []*vocab.Item {
	var out []*vocab.Item
	for _, n := range names {
		out = append(out, &vocab.Item{ItemId: n})
	}
	return out
}

// Day0 is where tests begin: 2026-01-01.
const Day0 = int64(1_767_225_600_000_000)

// NarrowRegister is the built-in register, where one field is collected for nobody.
func NarrowRegister(t T, field string) *privacyfilter.Register {
	text := string(privacyfilter.Defaults)
	at := strings.Index(text, "\n  "+field+":")
	if at < 0 {
		t.Fatalf("the register does not hold %s", field)
	}
	rest := text[at:]
	from := strings.Index(rest, "collected_for: [")
	to := from + strings.Index(rest[from:], "]")
	text = text[:at] + rest[:from] + "collected_for: [" + rest[to:]
	reg, err := privacyfilter.Load(Sections(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// Bench processes records one after the other, again and again, in transactions of 1,000, and reports the changelog's bytes an event.
func (h *Harness) Bench(b *testing.B, recs []stream.Record) {
	h.BenchOf(b, func(i int) *stream.Record { return &recs[i%len(recs)] })
}

// BenchOf is Bench with records that are made on the way.
func (h *Harness) BenchOf(b *testing.B, record func(i int) *stream.Record) {
	var written int64
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if err := h.Processor.Process(record(i)); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			for _, r := range h.Task.Changes() {
				written += int64(len(r.Key) + len(r.Value))
			}
		}
	}
	b.ReportMetric(float64(written)/float64(b.N), "changelog-B/op")
}

// Encode is a message's bytes.
func Encode(t T, m Message) []byte {
	value, err := m.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Lengths of time in microseconds.
const (
	Minute = int64(60 * 1e6)
	Hour   = 60 * Minute
	Day    = 24 * Hour
)
