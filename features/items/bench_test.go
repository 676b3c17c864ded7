package items

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"sluice/internal/itemid"
)

// shop is a model of 50,000 people with 24 interactions each, in sessions of about five, over 100,000 items by zipf 1.1, and what each person has.
func shop(b *testing.B) (*Model, []uint32, [][]Interaction) {
	ids := itemid.NewTable()
	m := New(ids, Options{Gap: 30 * minute})
	numbers := make([]uint32, 100_000)
	for i := range numbers {
		numbers[i] = ids.Acquire(fmt.Sprintf("item-%06d", i))
	}
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.1, 1, uint64(len(numbers)-1))
	histories := make([][]Interaction, 50_000)
	for person := range histories {
		at := day0 + random.Int64N(20*24)*hour
		for n := range 24 {
			at += random.Int64N(5 * minute)
			if n%5 == 4 {
				at += 12 * hour
			}
			histories[person] = append(histories[person], Interaction{
				Event: uint64(person)<<8 | uint64(n), Session: uint64(person)<<8 | uint64(n/5+1), Time: at, Item: numbers[zipf.Uint64()], Type: 1,
			})
		}
		m.Apply([]Change{{subjectOf(person), histories[person]}})
	}
	sizes := m.Sizes()
	b.ReportMetric(float64(sizes.Bytes)/float64(sizes.People), "model-B/person")
	return m, numbers, histories
}

// BenchmarkApply adds one event to a history of 24 and takes the oldest away, of an item of each popularity.
func BenchmarkApply(b *testing.B) {
	m, numbers, histories := shop(b)
	for _, rank := range []int{0, 10, 1000, 50_000} {
		b.Run("item "+strconv.Itoa(rank), func(b *testing.B) {
			b.ReportAllocs()
			changes := make([]Change, 1)
			for i := 0; b.Loop(); i++ {
				person := i % len(histories)
				history := histories[person]
				last := history[len(history)-1]
				copy(history, history[1:])
				history[len(history)-1] = Interaction{Event: last.Event + 1<<32, Session: last.Session, Time: last.Time + 60e6, Item: numbers[rank], Type: 1}
				changes[0] = Change{subjectOf(person), history}
				m.Apply(changes)
			}
		})
	}
}

// BenchmarkNeighbours searches for a session of ten items: those that people have, and ten of the same popularity.
func BenchmarkNeighbours(b *testing.B) {
	m, numbers, histories := shop(b)
	o := KNN{Items: 10, Sample: 500, Neighbours: 300, HalfLife: 60 * 24 * time.Hour, Decay: 1.5, Distance: 3, Rarity: 0.5, People: 3, Limit: 250}
	var out []Scored
	b.Run("people", func(b *testing.B) {
		b.ReportAllocs()
		var present []uint32
		for i := 0; b.Loop(); i++ {
			present = present[:0]
			for _, t := range histories[i%len(histories)][14:] {
				present = append(present, t.Item)
			}
			out = m.Neighbours(out[:0], present, []Subject{subjectOf(i % len(histories))}, day0+30*24*hour, &o)
		}
	})
	for _, rank := range []int{0, 10, 1000, 50_000} {
		b.Run("items "+strconv.Itoa(rank), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out = m.Neighbours(out[:0], numbers[rank:rank+10], nil, day0+30*24*hour, &o)
			}
		})
	}
}

// BenchmarkTogether makes an item's list.
func BenchmarkTogether(b *testing.B) {
	m, numbers, _ := shop(b)
	o := Pairs{Weights: [64]float64{1: 1}, Positions: 5, People: 3, Sample: 500, HalfLife: 7 * 24 * time.Hour, Limit: 200}
	var out []Scored
	for _, rank := range []int{0, 10, 1000, 50_000} {
		b.Run("item "+strconv.Itoa(rank), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out = m.Together(out[:0], numbers[rank], day0+30*24*hour, &o)
			}
		})
	}
}

// BenchmarkGrown reports the memory that a person takes who has come to 24 interactions one by one, beside others who do: in turn, or in any order.
func BenchmarkGrown(b *testing.B) {
	const people, interactions = 20_000, 24
	for _, order := range []string{"in turn", "in any order"} {
		b.Run(order, func(b *testing.B) {
			var sizes Sizes
			for b.Loop() {
				ids := itemid.NewTable()
				m := New(ids, Options{Gap: 30 * minute})
				numbers := make([]uint32, 20_000)
				for i := range numbers {
					numbers[i] = ids.Acquire(fmt.Sprintf("item-%06d", i))
				}
				random := rand.New(rand.NewPCG(1, 2))
				zipf := rand.NewZipf(random, 1.1, 1, uint64(len(numbers)-1))
				next := make([]int, people*interactions)
				for i := range next {
					next[i] = i % people
				}
				if order != "in turn" {
					random.Shuffle(len(next), func(i, j int) { next[i], next[j] = next[j], next[i] })
				}
				histories := make([][]Interaction, people)
				for at, person := range next {
					n := len(histories[person])
					histories[person] = append(histories[person], Interaction{
						Event: uint64(at), Session: uint64(person)<<8 | uint64(n/5+1), Time: day0 + int64(at)*1e6, Item: numbers[zipf.Uint64()], Type: 1,
					})
					m.Apply([]Change{{subjectOf(person), histories[person]}})
				}
				sizes = m.Sizes()
			}
			b.ReportMetric(float64(sizes.Bytes)/float64(sizes.People), "model-B/person")
		})
	}
}
