package stream

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestTableAgainstModel runs random operations on tables of both kinds with a checkpoint, and on plain maps; they must agree after every commit, abort, checkpoint and reopening.
func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store, err := OpenStore(tempDir(t), StoreOptions{Memory: NewMemory(rapid.Int64Range(1, 900).Draw(t, "limit"))})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		m := &tableModel{store: store, committed: map[string]int64{}, committedBytes: map[string]string{}}
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
			"put": func(t *rapid.T) {
				k, v := m.key(t), rapid.StringN(0, 20, 400).Draw(t, "value")
				m.bytes.Put([]byte(k), []byte(v))
				m.pendingBytes[k] = v
			},
			"drop": func(t *rapid.T) {
				k := m.key(t)
				m.bytes.Delete([]byte(k))
				delete(m.pendingBytes, k)
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
				if err := m.task.save(time.Nanosecond, true); err != nil {
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

	bytes                        *Bytes
	committedBytes, pendingBytes map[string]string
}

func (m *tableModel) open(t *rapid.T) {
	part := m.store.forPartition(3)
	m.task = &liveTask{Task: &Task{Partition: 3, store: part}, store: part}
	m.table = OpenTable[int64](m.task.Task, 1, "numbers", int64Codec{})
	m.bytes = OpenBytes(m.task.Task, 2, "bytes")
	m.pending, m.pendingBytes = maps.Clone(m.committed), maps.Clone(m.committedBytes)
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
		m.committed, m.committedBytes = maps.Clone(m.pending), maps.Clone(m.pendingBytes)
		m.task.next++
		m.task.unsaved = true
	} else {
		m.pending, m.pendingBytes = maps.Clone(m.committed), maps.Clone(m.committedBytes)
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
		text := m.bytes.Get([]byte(key))
		if want, ok := m.pendingBytes[key]; ok != (text != nil) || string(text) != want {
			t.Fatalf("%s: got %q, want %q (%v)", key, text, want, ok)
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

// BenchmarkBytesPutAndCommit is what an event does to a person's list: it is read and written anew.
func BenchmarkBytesPutAndCommit(b *testing.B) {
	task := NewTask(0)
	table := OpenBytes(task, 1, "lists")
	keys, value := make([][]byte, 50_000), make([]byte, 300)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "subject-%08d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := keys[i%len(keys)]
		copy(value, table.Get(key))
		table.Put(key, value)
		if i%1000 == 0 {
			task.Take()
		}
	}
}

// TestEntriesAgainstModel changes values of many sizes: none may overwrite another, and holes are bounded.
func TestEntriesAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := newEntries(NewMemory(0))
		want := make(map[string][]byte)
		for i := range rapid.IntRange(1, 400).Draw(t, "steps") {
			key := fmt.Appendf(nil, "k%02d", rapid.IntRange(0, 40).Draw(t, "key"))
			n, ok := e.find(key)
			if _, there := want[string(key)]; ok != there {
				t.Fatalf("%s is there: %t, expected %t", key, ok, there)
			}
			if ok && rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				e.remove(n)
				delete(want, string(key))
				continue
			}
			if !ok {
				n = e.add(key)
			}
			value := bytes.Repeat([]byte{byte(i)}, rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 20_000)).Draw(t, "size"))
			e.set(n, value)
			want[string(key)] = value
			e.compact()
		}
		live := int64(0)
		for key, value := range want {
			n, ok := e.find([]byte(key))
			if got, _ := e.value(n); !ok || !bytes.Equal(got, value) {
				t.Fatalf("%s has not the value that was set", key)
			}
			_, _, length := e.parts(n)
			live += int64(slabSize(length))
		}
		used := int64(0)
		for i := range e.slab.blocks {
			used += int64(len(e.slab.blocks[i].data))
		}
		if e.slab.holes != used-live {
			t.Fatalf("holes are %d bytes; they must be %d", e.slab.holes, used-live)
		}
		if most := max(slabBlock, e.slab.held/slabHoles) + slabBlock; e.slab.holes > most {
			t.Fatalf("holes are %d bytes; they must be at most %d", e.slab.holes, most)
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
			e.load(fmt.Appendf(nil, "subject-%08d", i), value)
		}
		b.ReportMetric(float64(e.bytes())/n, "bytes/entry")
		b.ReportMetric(float64(len(e.slab.blocks)), "blocks")
	}
}

// BenchmarkTableGrowing is what lists of people do to a table: values grow by an entry until they are cut. It tells what an entry takes beside its key and value.
func BenchmarkTableGrowing(b *testing.B) {
	const people = 20_000
	e := newEntries(NewMemory(1 << 30))
	random := rand.New(rand.NewPCG(1, 2))
	keys, sizes := make([][]byte, people), make([]int, people)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "subject-%08d", i)
	}
	value := make([]byte, 8<<10)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := int(float64(people) * math.Pow(random.Float64(), 2)) // some come more often
		n, ok := e.find(keys[at])
		if !ok {
			n = e.add(keys[at])
		}
		if sizes[at] += 40 + random.IntN(20); sizes[at] > 600 {
			sizes[at] = 50
		}
		e.set(n, value[:sizes[at]])
		if i%100 == 0 {
			e.compact()
		}
	}
	live := int64(0)
	for n := range uint32(len(e.all)) {
		key, value, _ := e.parts(n)
		live += int64(len(key) + len(value))
	}
	b.ReportMetric(float64(e.slab.held)/float64(live), "held/live")
}

// TestTableCountsItsMemory: values that come, grow and go leave memory that their table counts, and gives back.
func TestTableCountsItsMemory(t *testing.T) {
	memory := NewMemory(1 << 30)
	e := newEntries(memory)
	for size := range 60 {
		for i := range 1000 {
			key := fmt.Appendf(nil, "subject-%08d", i)
			n, ok := e.find(key)
			if !ok {
				n = e.add(key)
			}
			e.set(n, make([]byte, 10*size))
		}
		e.compact()
		e.bill()
		live := int64(1000 * (16 + 10*size))
		if most := live + live/2 + 128<<10; memory.Used() > most {
			t.Fatalf("%d bytes for %d of values of %d bytes", memory.Used(), live, 10*size)
		}
	}
	for i := range 1000 {
		n, _ := e.find(fmt.Appendf(nil, "subject-%08d", i))
		e.remove(n)
	}
	e.bill()
	if most := int64(128 << 10); memory.Used() > most {
		t.Errorf("an empty table takes %d bytes; it must take at most %d", memory.Used(), most)
	}
}
