package warehouse

import (
	"context"
	"sync"
	"time"

	"sluice/systemtest/run"
)

// peaks are the highest values of a process's metrics that were seen.
type peaks struct {
	rss      float64 // bytes
	buffered float64 // rows
	lag      float64 // records
}

// watcher reads a process's metrics now and then.
type watcher struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	seen    peaks
}

// watch begins to look at the process at the URL.
func watch(ctx context.Context, url string) *watcher {
	w := new(watcher)
	ctx, w.cancel = context.WithCancel(ctx)
	w.running.Go(func() {
		for run.Sleep(ctx, 250*time.Millisecond) {
			m, err := scrape(ctx, url)
			if err != nil {
				continue // a busy process may be late; the next one will do
			}
			w.seen.rss = max(w.seen.rss, m["process_resident_memory_bytes"])
			w.seen.buffered = max(w.seen.buffered, m["sluice_warehouse_buffered_rows"])
			w.seen.lag = max(w.seen.lag, m["sluice_warehouse_lag_records"])
		}
	})
	return w
}

// stop ends it, and tells what was seen.
func (w *watcher) stop() peaks {
	w.cancel()
	w.running.Wait()
	return w.seen
}
