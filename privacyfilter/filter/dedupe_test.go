package filter

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/internal/stream"
)

// TestDuplicates: an id of a subject that was accepted within seven days is a duplicate, whatever else the event says; what was denied may come again.
func TestDuplicates(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.event(view("e1", start), start, nil)
	expect(t, "denied", w.counts(), "allowed 0 denied 1 rejected 0 duplicate 0")
	w.control(accept("CN"), start)
	w.event(view("e1", start+minute), start+minute, nil)
	expect(t, "the denied one again", w.reached(), everything)
	w.event(view("e1", start+2*minute), start+2*minute, nil)
	expect(t, "emitted for a duplicate", len(w.emitted), 0)
	other := view("e1", start+2*minute)
	other.UserId = "u2"
	w.event(other, start+2*minute, nil)
	expect(t, "another subject's", w.counts(), "allowed 1 denied 2 rejected 0 duplicate 1")
}

// TestDuplicatesAreForgottenByLogTime: exactly, for at least seven days of received time, by the partition's stream time; and the state goes, too.
func TestDuplicatesAreForgottenByLogTime(t *testing.T) {
	const received = start + testHour/2
	const forgotten = start + 7*24*testHour + testHour // the hour in which e1 was received has expired
	cases := []struct {
		name  string
		clock int64 // time of an event of someone else
		want  string
	}{
		{"a week later, less a moment", received + 7*24*testHour - second, "[]"},
		{"at the end of the hour", forgotten - 1, "[]"},
		{"after it", forgotten + 1, everything},
		{"much later", start + 1000*24*testHour, everything},
	}
	reg := testRegister(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, reg)
			w.control(accept("CN"), start)
			w.event(view("e1", received), received, nil)
			tick := view("tick", c.clock)
			tick.UserId, tick.Time, tick.SentAt = "u2", c.clock, c.clock
			w.event(tick, c.clock, nil)
			again := view("e1", c.clock)
			w.event(again, c.clock, nil)
			expect(t, "reached", w.reached(), c.want)
		})
	}
}

// TestClockIgnoresFutureAndControls: a client's clock far ahead, and a control record of an import, do not make a partition forget.
func TestClockIgnoresFutureAndControls(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start)
	w.event(view("e1", start+minute), start+minute, nil)
	ahead := view("e2", start+2*minute)
	ahead.Time, ahead.SentAt = start+9000*24*testHour, start+9000*24*testHour
	w.event(ahead, start+2*minute, nil)
	w.control(accept("CN"), start+9000*24*testHour)
	w.event(view("e1", start+3*minute), start+3*minute, nil)
	expect(t, "counts", w.counts(), "allowed 2 denied 0 rejected 0 duplicate 1")
}

// TestDedupeAgainstModel adds, looks up and expires, with many hashes an hour, and compares with a map; every record stays bounded.
func TestDedupeAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		task := stream.NewTask(0)
		d := openDedupe(task)
		subjects := [][]byte{[]byte("0123456789abcdef"), []byte("fedcba9876543210")}
		type known struct {
			subject int
			hash    uint64
		}
		model := make(map[known]uint32) // the hour that it is kept under
		newest := []uint32{0, 0}
		var seed uint64
		now, cutoff := uint32(1000), uint32(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				s := rapid.IntRange(0, 1).Draw(t, "subject")
				received := max(cutoff, now-uint32(rapid.IntRange(0, 2).Draw(t, "skew")))
				if newest[s] < cutoff && rapid.Bool().Draw(t, "forgotten first") {
					d.expire(subjects[s], cutoff)
				}
				newest[s] = max(newest[s], received)
				for range rapid.SampledFrom([]int{1, 1, 10, 70, 400}).Draw(t, "n") {
					seed++
					hash := seed * 0x9e3779b97f4a7c15
					if d.has(subjects[s], hash, cutoff) {
						t.Fatalf("%x is known before it was added", hash)
					}
					d.add(subjects[s], hash, received)
					model[known{s, hash}] = newest[s]
				}
			},
			"later": func(t *rapid.T) { now += uint32(rapid.IntRange(1, 3).Draw(t, "hours")) },
			"expire": func(t *rapid.T) {
				cutoff = max(cutoff, now-uint32(rapid.IntRange(0, 4).Draw(t, "age")))
				for k, h := range model {
					if h >= cutoff {
						continue
					}
					delete(model, k)
					if d.has(subjects[k.subject], k.hash, cutoff) {
						t.Fatalf("%x is known for too long", k.hash)
					}
				}
				for s, subject := range subjects {
					oldest := uint32(nothingLeft)
					for k, h := range model {
						if k.subject == s {
							oldest = min(oldest, h)
						}
					}
					if got := d.expire(subject, cutoff); got != oldest {
						t.Fatalf("oldest %d, expected %d", got, oldest)
					}
				}
			},
			"commit": func(*rapid.T) { task.Take() },
			"": func(t *rapid.T) {
				for k := range model {
					if !d.has(subjects[k.subject], k.hash, cutoff) {
						t.Fatalf("%x is forgotten", k.hash)
					}
				}
				total := 0
				d.heads.Range(func(_ []byte, h *head) bool {
					total += len(h.hashes)
					if len(h.hashes) > inlineHashes {
						t.Fatalf("a head of %d hashes", len(h.hashes))
					}
					return true
				})
				d.chunks.Range(func(_ []byte, c *chunk) bool {
					total += len(*c)
					if len(*c) > chunkHashes {
						t.Fatalf("a chunk of %d hashes", len(*c))
					}
					return true
				})
				if total != len(model) {
					t.Fatalf("%d hashes are kept, expected %d", total, len(model))
				}
			},
		})
	})
}

func TestCodecs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &head{hour: rapid.Uint32().Draw(t, "hour"), hashes: chunk(rapid.SliceOf(rapid.Uint64()).Draw(t, "hashes"))}
		for range rapid.IntRange(0, 5).Draw(t, "older") {
			h.older = append(h.older, chunked{rapid.Uint32().Draw(t, "hour"), uint8(rapid.IntRange(0, maxBits).Draw(t, "bits"))})
		}
		data, _ := headCodec{}.Encode(nil, h)
		back, err := headCodec{}.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := headCodec{}.Encode(nil, back)
		if diff := cmp.Diff(data, again); diff != "" {
			t.Fatal(diff)
		}
		if len(data) > 0 {
			_, _ = headCodec{}.Decode(data[:rapid.IntRange(0, len(data)-1).Draw(t, "cut")]) // an error or less, never a panic
		}
		garbage := rapid.SliceOf(rapid.Byte()).Draw(t, "garbage")
		_, _ = headCodec{}.Decode(garbage)
		_, _ = chunkCodec{}.Decode(garbage)
		_, _ = blockCodec{}.Decode(garbage)
		_, _ = numberCodec{}.Decode(garbage)
		_, _ = deletionsCodec{}.Decode(garbage)
		Projection()(garbageTable(t), garbage, garbage, func(stream.Pair) {})
	})
}

func garbageTable(t *rapid.T) byte { return byte(rapid.IntRange(0, 9).Draw(t, "table")) }

// TestExpiredStateIsGone: nothing of dedupe and runs is left of a subject who has not come for a week.
func TestExpiredStateIsGone(t *testing.T) {
	w := newWorld(t, testRegister(t))
	w.control(accept("CN"), start)
	for i := range 200 {
		w.process(runRecord(t, uint64(i+1), fmt.Sprint("e", i), start+minute))
	}
	if w.filter.dedupe.chunks.Len() == 0 || w.filter.runs.Len() == 0 {
		t.Fatal("no chunks")
	}
	far := start + 8*24*testHour
	w.forget(far)
	expect(t, "heads, chunks, runs, marks", fmt.Sprint(w.filter.dedupe.heads.Len(), w.filter.dedupe.chunks.Len(), w.filter.runs.Len()), "0 0 0")
	if w.filter.expiring {
		t.Error("something is due")
	}
}

// TestMillionsExpireAFewAtATime: a week after a crowd came, each event forgets a few of it; what is still there is unknown all the same.
func TestMillionsExpireAFewAtATime(t *testing.T) {
	w := newWorld(t, testRegister(t))
	const people = 300
	visit := func(person int, at int64) {
		ev := view("e", at)
		ev.UserId = fmt.Sprint("p", person)
		w.event(ev, at, nil)
	}
	for i := range people {
		c := accept("CN")
		c.Subject = fmt.Sprint("u:p", i)
		w.control(c, start)
		visit(i, start+minute)
	}
	expect(t, "heads", w.filter.dedupe.heads.Len(), people)
	far := start + 8*24*testHour
	w.stranger(far)
	if left := w.filter.dedupe.heads.Len(); left != people-dueAtOnce {
		t.Fatalf("one event leaves %d of %d", left, people)
	}
	visit(people-1, far)
	expect(t, "of one who may still be there", w.reached(), everything)
	visit(people-1, far)
	expect(t, "again", w.reached(), "[]")
	w.forget(far)
	expect(t, "heads", w.filter.dedupe.heads.Len(), 1)
	visit(people-1, far)
	expect(t, "the new one", w.reached(), "[]")
}

// TestRowsOfARunAreSettledOnce: a row that comes again is known by its own bits, whatever became of it; an id that came before is a duplicate.
func TestRowsOfARunAreSettledOnce(t *testing.T) {
	w := newWorld(t, testRegister(t))
	r := NewRuns(stream.Cluster{}, nil)
	follow := func() {
		t.Helper()
		r.apply(w.task.Changes())
	}
	send := func(row uint64, id string) {
		t.Helper()
		rec := runRecord(t, row, id, start+minute)
		rec.Offset = w.offset
		w.offset++
		if err := w.filter.Process(&rec); err != nil {
			t.Fatal(err)
		}
		follow()
	}
	settledAre := func(want string) {
		t.Helper()
		a, d, n, rejected := r.Settled(77)
		expect(t, "settled", fmt.Sprint(a, d, n, rejected), want)
	}
	send(1, "e1")
	settledAre("0 0 1 0")
	w.control(accept("CN"), start)
	send(1, "e1") // again: its first outcome stays
	settledAre("0 0 1 0")
	send(2, "e2")
	send(3, "e2")
	send(5000, "e3")
	settledAre("2 1 1 0")
	send(2, "e2")
	send(3, "e2")
	settledAre("2 1 1 0")
	expect(t, "counts", w.counts(), "allowed 2 denied 1 rejected 0 duplicate 4")
	unknown := runRecord(t, 6, "e9", start+minute)
	unknown.Value = append(unknown.Value, 0x38, 99) // key_id = 99, which nobody has: the last one counts
	unknown.Offset = w.offset
	if err := w.filter.Process(&unknown); err != nil {
		t.Fatal(err)
	}
	follow()
	settledAre("2 1 1 1")
	expect(t, "counts", w.counts(), "allowed 2 denied 1 rejected 1 duplicate 4")
	if a, d, n, rejected := r.Settled(78); a+d+n+rejected != 0 {
		t.Error("a run that nobody knows")
	}
}

// TestRunsViewForgets: a block that changes replaces its older version, and a deleted one takes its rows away.
func TestRunsViewForgets(t *testing.T) {
	r := NewRuns(stream.Cluster{}, nil)
	key := blockKey(7, 1)
	put := func(partition int32, b *block) {
		rec := stream.Record{Partition: partition, Key: append([]byte{tableRuns}, key[:]...)}
		if b != nil {
			rec.Value, _ = blockCodec{}.Encode(nil, b)
		}
		r.apply([]stream.Record{{Key: []byte{tableLedger, 1}}, {}, rec})
	}
	b := new(block)
	b.set(1, rowAccepted)
	put(0, b)
	b.set(2, rowDuplicate)
	b.set(1023, rowDenied)
	b.set(1022, rowRejected)
	put(0, b)
	put(3, b)
	a, d, n, rejected := r.Settled(7)
	expect(t, "settled", fmt.Sprint(a, d, n, rejected), "2 2 2 2")
	put(0, nil)
	a, d, n, rejected = r.Settled(7)
	expect(t, "settled", fmt.Sprint(a, d, n, rejected), "1 1 1 1")
	put(3, nil)
	if len(r.runs) != 0 || len(r.blocks) != 0 {
		t.Error("a run that is gone is remembered")
	}
	if binary.BigEndian.Uint64(key[:]) != 7 {
		t.Error("the run is not in front")
	}
}
