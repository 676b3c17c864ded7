package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent lets a small heap grow to three times what lives in it before a collection. Views and state live long: at 100, marking them took a fifth of the CPU
	// of 400,000 events.
	gcPercent = 200
	// spare is how much garbage there may be, in percent of what lives, once the budget does not allow gcPercent. With less, collecting would take most of the time.
	spare = 50
	// mostSpare bounds spare. A large heap holds mostly memory without pointers, which is marked quickly.
	mostSpare   = 768 << 20
	memoryEvery = 250 * time.Millisecond
)

// keepMemory keeps the process within its budget until ctx ends. It collects garbage early enough that the heap stays below the budget, unless so much lives that
// less than spare would be left. It does nothing if the environment says how to collect (GOGC, GOMEMLIMIT).
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

// memoryLimit is the memory limit for a process with so much alive on the heap, and other memory of the runtime.
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
