package quota

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const second = int64(time.Second)

func TestBucket(t *testing.T) {
	b := newTable(Limit{Rate: 2, Burst: 3}, shardCount)
	for i, step := range []struct {
		now  int64
		n    int
		wait time.Duration
	}{
		{0, 1, 0},
		{0, 2, 0},
		{0, 1, time.Second / 2},
		{second / 4, 1, time.Second / 4},
		{second / 2, 1, 0},
		{second / 2, 2, time.Second},
		{100 * second, 3, 0}, // full again, and no fuller
		{100 * second, 1, time.Second / 2},
		{50 * second, 1, 101 * time.Second / 2}, // the clock went back
		{200 * second, 10, 0},                   // more than it ever holds is lent by a full one
		{201 * second, 1, 3 * time.Second},
		{204 * second, 1, 0},
		{204 * second, 0, 0},
	} {
		if wait := b.look(7, step.n, step.now); wait != step.wait {
			t.Errorf("step %d: look says %v, want %v", i, wait, step.wait)
		}
		if wait := b.take(7, step.n, step.now); wait != step.wait {
			t.Errorf("step %d: waits %v, want %v", i, wait, step.wait)
		}
	}
}

// TestGiveAndFine: what is given back can be taken again, what is taken in place of a payment needs the difference alone, and fines end at a full bucket's debt.
func TestGiveAndFine(t *testing.T) {
	b := newTable(Limit{Rate: 1, Burst: 10}, shardCount)
	waits := func(what string, got, want time.Duration) {
		t.Helper()
		if got != want {
			t.Errorf("%s: waits %v, want %v", what, got, want)
		}
	}
	waits("a payment", b.take(7, 6, 0), 0)
	waits("more in its place", b.retake(7, 6, 10, 0), 0)
	waits("one more", b.take(7, 1, 0), time.Second)
	b.give(7, 10)
	waits("after it was given back", b.take(7, 10, 0), 0)
	b.give(7, 10)
	waits("a payment before more than the bucket holds", b.take(7, 3, 0), 0)
	waits("more than the bucket holds in its place", b.retake(7, 3, 15, 0), 0)
	waits("the debt", b.take(7, 1, 0), 6*time.Second)
	for range 10 {
		b.fine(7, 3, 0)
	}
	waits("fines", b.take(7, 1, 0), 11*time.Second)
	b.give(8, 5) // of one who has no slot
	waits("another key", b.take(8, 10, 0), 0)
	waits("another key, used up", b.take(8, 1, 0), time.Second)
}

func TestNoLimit(t *testing.T) {
	b := newTable(Limit{Burst: 1}, shardCount)
	for range 10 {
		if wait := b.take(1, 1000, 0); wait != 0 {
			t.Fatalf("waits %v", wait)
		}
	}
}

// TestAHeavyKeyIsNotFreedByOthers: a million keys pass through the set of one that has used up its bucket.
func TestAHeavyKeyIsNotFreedByOthers(t *testing.T) {
	b := newTable(Limit{Rate: 1, Burst: 100}, shardCount)
	if wait := b.take(0, 100, 0); wait != 0 {
		t.Fatal(wait)
	}
	refused := 0
	for i := range uint64(1_000_000) {
		if b.take(shardCount*(i+1), 1, 0) > 0 {
			refused++
		}
	}
	if wait := b.take(0, 1, 0); wait == 0 {
		t.Error("the key has its tokens back")
	}
	if taken, most := 1_000_000-refused, (ways-1)*100; taken > most {
		t.Errorf("%d tokens were taken of %d buckets of 100", taken, ways-1)
	}
	if wait := b.take(shardCount*2_000_000, 1, 100*second); wait != 0 {
		t.Errorf("a new key waits %v after all have recovered", wait)
	}
}

func TestAKeyAtTheSameTime(t *testing.T) {
	b := newTable(Limit{Rate: 1, Burst: 1000}, sets)
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				b.take(uint64(i), 1, 0) // others
				if b.take(5, 1, 0) == 0 {
					taken.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := taken.Load(); got > 1000 || got < 1000-8 { // the others take one of the same key each
		t.Errorf("%d of 1000 tokens taken", got)
	}
}

// FuzzTable: whatever keys come, whenever, and however the clock jumps, no key gets more than rate × time + burst.
func FuzzTable(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 0, 1, 2, 0, 0, 10, 9, 200, 1, 0, 0})
	f.Add([]byte{0, 255, 255, 255, 255, 1, 1, 128, 0, 1})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) < 2 {
			return
		}
		limit := Limit{Rate: float64(ops[0]%50+1) / 4, Burst: float64(ops[1]%20 + 1)}
		check(t, limit, ops[2:])
	})
}

const opBytes = 5 // key, tokens, how far the clock moves

func check(t *testing.T, limit Limit, ops []byte) {
	t.Helper()
	b := newTable(limit, shardCount) // one set a shard: keys push one another out
	type account struct {
		taken float64
		full  int64
	}
	accounts := make(map[uint64]*account)
	now, newest := second, second
	for ; len(ops) >= opBytes; ops = ops[opBytes:] {
		key, n := uint64(ops[0]%32)*shardCount, int(ops[1]%30)+1
		now += int64(int16(binary.LittleEndian.Uint16(ops[2:]))) * (int64(ops[4]) << 16)
		now = max(0, now)
		newest = max(newest, now)
		a := accounts[key]
		if a == nil {
			a = new(account)
			accounts[key] = a
		}
		if b.take(key, n, now) > 0 {
			continue
		}
		// Alone in its bucket, the key would have had the tokens, too.
		begin := max(a.full, now)
		if begin+min(int64(n), b.burst)*b.each-now > b.fills {
			t.Fatalf("key %d got %d tokens that a bucket of its own does not have", key, n)
		}
		a.full = begin + int64(n)*b.each
		a.taken += float64(n)
		if most := limit.Rate*float64(newest)/float64(second) + limit.Burst + 31; a.taken > most {
			t.Fatalf("key %d got %g tokens, of at most %g", key, a.taken, most)
		}
	}
}

func TestBoundsDoNotOverflow(t *testing.T) {
	for _, rate := range []float64{minRate, maxRate} {
		b := newTable(Limit{Rate: rate, Burst: maxBurst}, shardCount)
		now := int64(100 * 365 * 24 * time.Hour)
		if wait := b.take(1, maxBurst, now); wait != 0 {
			t.Errorf("rate %g: waits %v", rate, wait)
		}
		if wait := b.take(1, maxBurst, now); wait <= 0 || int64(wait) > math.MaxInt64/2 {
			t.Errorf("rate %g: waits %v", rate, wait)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	t := newTable(Limit{Rate: 1000, Burst: 1000}, sets)
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		now += 1000
		t.take(uint64(now)*0x9e3779b97f4a7c15, 1, now)
	}
}
