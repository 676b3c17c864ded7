package stream

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestTableAgainstModel runs random operations on a table with a checkpoint and on a plain map; both must agree after every commit, abort, checkpoint and reopening.
func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store, err := OpenStore(tempDir(t), StoreOptions{Memory: NewMemory(rapid.Int64Range(1, 900).Draw(t, "limit"))})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		m := &tableModel{store: store, committed: map[string]int64{}}
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"mutate": func(t *rapid.T) {
				k := m.key(t)
				*m.table.Mutate([]byte(k)) += 3
				m.pending[k] += 3
			},
			"delete": func(t *rapid.T) {
				k := m.key(t)
				m.table.Delete([]byte(k))
				delete(m.pending, k)
			},
			"commit": func(t *rapid.T) { m.end(t, true) },
			"abort":  func(t *rapid.T) { m.end(t, false) },
			"checkpoint": func(t *rapid.T) {
				m.end(t, true)
				if err := m.task.saveAll(); err != nil {
					t.Fatal(err)
				}
				m.task.evict()
			},
			"piece": func(t *rapid.T) {
				m.end(t, true)
				if err := m.task.save(time.Nanosecond); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": func(t *rapid.T) {
				m.end(t, true)
				if err := m.task.saveAll(); err != nil {
					t.Fatal(err)
				}
				m.task.close()
				m.open(t)
			},
			"": func(t *rapid.T) { m.compare(t) },
		})
	})
}

type tableModel struct {
	store              *Store
	task               *liveTask
	table              *Table[int64]
	committed, pending map[string]int64
}

func (m *tableModel) open(t *rapid.T) {
	part := m.store.forPartition(3)
	m.task = &liveTask{Task: &Task{Partition: 3, store: part}, store: part}
	m.table = OpenTable[int64](m.task.Task, 1, "numbers", int64Codec{})
	m.pending = maps.Clone(m.committed)
	if err := m.task.Err(); err != nil {
		t.Fatal(err)
	}
}

func (m *tableModel) key(t *rapid.T) string {
	return fmt.Sprintf("k%02d", rapid.IntRange(0, 30).Draw(t, "key"))
}

func (m *tableModel) end(t *rapid.T, commit bool) {
	if err := m.task.flush(func(byte, []byte, []byte) {}); err != nil {
		t.Fatal(err)
	}
	m.task.finish(commit)
	if commit {
		m.committed = maps.Clone(m.pending)
		m.task.next++
		m.task.unsaved = true
	} else {
		m.pending = maps.Clone(m.committed)
	}
}

func (m *tableModel) compare(t *rapid.T) {
	got := map[string]int64{}
	m.table.Range(func(key []byte, v *int64) bool {
		got[string(key)] = *v
		return true
	})
	if diff := cmp.Diff(m.pending, got); diff != "" {
		t.Fatal(diff)
	}
	for k := range 31 {
		key := fmt.Sprintf("k%02d", k)
		v := m.table.Get([]byte(key))
		if want, ok := m.pending[key]; ok != (v != nil) || ok && *v != want {
			t.Fatalf("%s: got %v, want %d (%v)", key, v, want, ok)
		}
	}
}

func TestClockTicksOncePerStep(t *testing.T) {
	clock := OpenClock(NewTask(0), 9, 1000) // 1 µs steps
	var ticks []bool
	for _, micros := range []int64{5, 5, 4, 6, 6, 9} {
		ticks = append(ticks, clock.Advance(micros))
	}
	if diff := cmp.Diff([]bool{true, false, false, true, false, true}, ticks); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkTableMutateAndCommit(b *testing.B) {
	task := NewTask(0)
	table := OpenTable[int64](task, 1, "numbers", int64Codec{})
	keys := make([][]byte, 50_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "subject-%08d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		*table.Mutate(keys[i%len(keys)])++
		if i%1000 == 0 {
			task.Take()
		}
	}
}

// TestSlabAgainstModel takes and gives strings of many sizes: none may overwrite another.
func TestSlabAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s slab
		held := make(map[slot][]byte)
		live := 0
		for i := range rapid.IntRange(1, 300).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "give") {
				for at, want := range held {
					if got := s.at(at)[:len(want)]; !bytes.Equal(got, want) {
						t.Fatalf("slot %d of %d bytes was overwritten", at, len(want))
					}
					s.give(at, len(want))
					_, size := classOf(len(want))
					live -= size
					delete(held, at)
					break
				}
				continue
			}
			n := rapid.OneOf(rapid.IntRange(1, 300), rapid.IntRange(1, 20_000)).Draw(t, "size")
			at, b := s.take(n)
			for j := range b {
				b[j] = byte(i)
			}
			held[at] = slices.Clone(b)
			_, size := classOf(n)
			live += size
		}
		for at, want := range held {
			if !bytes.Equal(s.at(at)[:len(want)], want) {
				t.Fatalf("slot %d of %d bytes was overwritten", at, len(want))
			}
		}
		if s.live != int64(live) {
			t.Fatalf("%d bytes live, %d expected", s.live, live)
		}
	})
}

// BenchmarkTableMemory tells what an entry of 16 + 100 bytes takes.
func BenchmarkTableMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		e := newEntries(NewMemory(1 << 30))
		value := make([]byte, 100)
		for i := range n {
			e.set(e.add(fmt.Appendf(nil, "subject-%08d", i)), value)
		}
		b.ReportMetric(float64(e.bytes())/n, "bytes/entry")
		b.ReportMetric(float64(len(e.slab.blocks)), "blocks")
	}
}
