package spill

import (
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkSet replaces the value of one of 20,000 owners with four values each, cleaning included, and reports the memory that an owner takes.
func BenchmarkSet(b *testing.B) {
	const owners, places = 20_000, 4
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := New(Options{View: "test", Dir: b.TempDir()})
	value := make([]byte, 200)
	for n := range owners * places {
		s.Set(ownerOf(n%owners), Place{Number: uint32(n / owners)}, value)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		s.Set(ownerOf(n%owners), Place{}, value)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/owners, "B/owner")
	if err := s.close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRead reads all values of an owner from files.
func BenchmarkRead(b *testing.B) {
	for _, places := range []int{4, 34} {
		b.Run(fmt.Sprintf("%d values", places), func(b *testing.B) {
			const owners = 1000
			s := New(Options{View: "test", Dir: b.TempDir()})
			for n := range owners * places {
				s.Set(ownerOf(n%owners), Place{Number: uint32(n / owners)}, make([]byte, 200))
			}
			var v Values
			var buf []byte
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				if err := s.Look(&v, ownerOf(n%owners)); err != nil {
					b.Fatal(err)
				}
				buf = buf[:0]
				for at := range uint32(places) {
					var err error
					if buf, _, err = v.Append(buf, Place{Number: at}); err != nil {
						b.Fatal(err)
					}
				}
				v.Close()
			}
			if err := s.close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
