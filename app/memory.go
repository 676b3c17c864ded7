package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent lets a small heap grow to three times what lives before it is collected: views and state live long, and marking them was a fifth of the CPU of
	// 400,000 events at 100.
	gcPercent = 200
	// spare is what may be garbage, in percent of what lives, where the budget is no longer enough for that: less of it, and most of the time would go into collecting.
	spare = 50
	// mostSpare bounds it: what a large heap holds is mostly without pointers, and soon marked.
	mostSpare   = 768 << 20
	memoryEvery = 250 * time.Millisecond
)

// keepMemory holds the process to its budget until ctx ends: garbage is collected early enough that the heap stays below it, unless so much of it lives that
// spare would be missed. Where the environment says how to collect, nothing is done.
func keepMemory(ctx context.Context, budget int64) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent := debug.SetGCPercent(gcPercent)
	limit := debug.SetMemoryLimit(budget)
	defer debug.SetGCPercent(percent)
	defer debug.SetMemoryLimit(limit)
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	for set := budget; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		live, other := memoryUse()
		if next := memoryLimit(budget, live, other); next > set+set/20 || next < set-set/20 { // setting it stops everything for a moment
			debug.SetMemoryLimit(next)
			set = next
		}
	}
}

// memoryLimit is the limit for a process of which so much lives on the heap, beside other memory of the runtime.
func memoryLimit(budget, live, other int64) int64 {
	return max(budget, live+min(live*spare/100, mostSpare)+other)
}

// memoryUse is how much of the heap lived at its last collection, and what the runtime holds beside the heap.
func memoryUse() (live, other int64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	value := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	return value(0), value(1) - value(2) - value(3) - value(4) - value(5)
}
