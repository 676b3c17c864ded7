package warehouse

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

// testPart is a partition whose records are words: a row, a purge, nothing, or what cannot be decoded.
func testPart(promised ...int64) *part {
	table := &Table{Name: "words", Columns: []Column{{Name: "word", Kind: String}}}
	source := &Source{Topic: "words", Tables: []*Table{table}, Decode: func(rec *stream.Record, out *Rows) error {
		switch word := string(rec.Value); word {
		case "purge":
			out.Purge(Purge{Subject: rec.Key})
			return nil
		case "nothing":
			return nil
		case "broken":
			return errors.New("a word expected")
		default:
			out.Batches[0].String(word)
			return out.Batches[0].End()
		}
	}}
	return newPart(source, 0, 100, 0, promised, nil)
}

func (p *part) read(words ...string) {
	for _, word := range words {
		_ = p.add(&kgo.Record{Offset: p.next, Key: []byte("key"), Value: []byte(word)}, "words", time.Now()) // an error is about a letter
	}
}

func TestLettersTakeMemory(t *testing.T) {
	p := testPart()
	p.read("broken", "row")
	p.measure()
	if p.held != p.open.held || p.rows != 1 || p.bytes < len("keybroken") || len(p.open.letters) != 1 {
		t.Errorf("held %v, the block %v with %d letters", p.held, p.open.held, len(p.open.letters))
	}
	if p.take(); p.held != (held{}) {
		t.Errorf("held %v after all was taken", p.held)
	}
	p.read(slices.Repeat([]string{"broken"}, maxBlockBytes/len("keybroken"))...)
	if len(p.complete) == 0 {
		t.Errorf("one block of %d bytes", p.bytes)
	}
}

// TestPurgesShareABlock: a purge ends no block, but a flush ends at a block that has one: what purges delete must not come after them in the same flush.
func TestPurgesShareABlock(t *testing.T) {
	p := testPart()
	p.maxRows = 2
	p.read("row", "purge", "purge", "row") // [0, 4)
	p.read("purge", "nothing")             // [4, 6) without rows
	p.close(p.next, time.Now())
	p.read("row", "row")   // [6, 8)
	p.read("row", "purge") // [8, 10), open
	for _, want := range [][]int64{{4, 6}, {8, 10}, {}} {
		if got := boundsOf(p.take()); !slices.Equal(got, want) {
			t.Errorf("blocks that end at %v, expected %v", got, want)
		}
	}
	if p.urgent(nil, purgeDelay) {
		t.Error("urgent without blocks")
	}
	p.read("purge", "row", "row", "row", "purge")
	if p.take(); p.purge.IsZero() {
		t.Error("a purge that was left is forgotten")
	}
	p.take()
	if p.read("row"); p.behind || !p.purge.IsZero() {
		t.Error("a block without purges is urgent")
	}
}

func TestRestIsWhatIsPromised(t *testing.T) {
	p := testPart(2, 4, 6, 9)
	p.read("row", "purge", "row", "row", "row")
	for _, want := range []struct{ taken, rest []int64 }{{[]int64{2}, []int64{4, 6, 9}}, {[]int64{4}, []int64{6, 9}}, {nil, []int64{6, 9}}} {
		if taken := boundsOf(p.take()); !slices.Equal(taken, want.taken) || !slices.Equal(p.rest(), want.rest) {
			t.Errorf("taken %v, the rest %v, expected %v", taken, p.rest(), want)
		}
	}
	p.read("row", "row", "row", "row", "row", "purge")
	if taken := boundsOf(p.take()); !slices.Equal(taken, []int64{6, 9, 11}) || len(p.rest()) > 0 {
		t.Errorf("taken %v, the rest %v", taken, p.rest())
	}
}

// knower is a store that has rows of some people.
type knower struct {
	Store
	holds bool
	asked int
}

func (k *knower) MayHold(_ *Source, purges []Purge) bool {
	k.asked += len(purges)
	return k.holds
}

// TestPurgesOfStrangersWait: a purge that deletes nothing that is stored is not stored before its time, and the store is asked about it once.
func TestPurgesOfStrangersWait(t *testing.T) {
	p, store := testPart(), &knower{}
	due := func() {
		if !p.purge.IsZero() {
			p.purge = p.purge.Add(-purgeDelay)
		}
	}
	p.read("row", "purge", "purge")
	if p.urgent(store, purgeDelay) || store.asked > 0 {
		t.Error("a purge does not wait for others")
	}
	due()
	for range 2 {
		if p.urgent(store, purgeDelay) || store.asked != 2 {
			t.Errorf("purges of strangers are urgent, or the store was asked about %d of 2", store.asked)
		}
	}
	p.read("row", "purge")
	due()
	if store.holds = true; !p.urgent(store, purgeDelay) || store.asked != 3 {
		t.Errorf("a purge of somebody who is stored is not urgent, or the store was asked about %d of 3", store.asked)
	}
	if p.take(); p.urgent(store, purgeDelay) {
		t.Error("urgent after all was taken")
	}
}

// TestPurgesTakeAShareOfTheTime: the longer they take, the longer the next ones wait, but never longer than rows.
func TestPurgesTakeAShareOfTheTime(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0:                      purgeDelay,
		10 * time.Millisecond:  purgeDelay,
		500 * time.Millisecond: 1500 * time.Millisecond,
		time.Minute:            10 * time.Second,
	} {
		if got := (&assignment{purging: took}).purgeDelay(10 * time.Second); got != want {
			t.Errorf("after %s purges wait %s, want %s", took, got, want)
		}
	}
}
