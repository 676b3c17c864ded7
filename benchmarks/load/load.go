// Package load sends requests over connections that stay open and measures the answers. It is made to cost little: the generator shares the cores of the
// server that it measures, and says what it has used itself.
package load

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Source makes the requests of one worker. A request is valid until the next one of the same worker.
type Source func() Request

// Load is what is sent.
type Load struct {
	Addr        string // host:port
	Connections int
	Source      func(worker int) Source
	Check       func(body []byte) bool // whether a good answer is the one that is wanted; nil: any

	// Rate, if it is not 0, makes the load open: so many requests a second are due, whatever the answers, and a latency counts from when its request was due
	// (no coordinated omission). A load without a rate is closed: each connection asks again as soon as it is answered, which shows the maximum.
	Rate float64
	// Again, if it is not 0, is how long a worker waits after 429 or 503 before it sends the same request again, until it is taken.
	Again time.Duration
	// Taken, if it is not nil, counts the good answers while the load runs.
	Taken *atomic.Int64
	// Count ends the load after so many requests; 0: it ends with its context.
	Count int64
}

// Result is what a load met.
type Result struct {
	Good     int64 // answers 2xx that the check liked
	Wrong    int64 // answers 2xx that it did not like
	Refused  int64 // 429
	Unknown  int64 // 503
	Failed   int64 // other answers, and broken connections
	Seconds  float64
	OwnCores float64                 // of this process, all its loads together
	Latency  *hdrhistogram.Histogram // microseconds, of good answers
	Example  string                  // the beginning of an answer that was not good
}

// longest is the longest latency that is told apart.
const longest = 2 * time.Minute

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), 3)
}

// PerSecond is the rate of good answers.
func (r *Result) PerSecond() float64 { return float64(r.Good) / r.Seconds }

// Asked is the number of requests.
func (r *Result) Asked() int64 { return r.Good + r.Wrong + r.Refused + r.Unknown + r.Failed }

// Share is n in relation to all requests.
func (r *Result) Share(n int64) float64 { return float64(n) / float64(max(1, r.Asked())) }

// Millis is a quantile of the latency, 0 to 100.
func (r *Result) Millis(quantile float64) float64 {
	return float64(r.Latency.ValueAtQuantile(quantile)) / 1000
}

// Run sends the load until ctx ends or its count is reached.
func (l *Load) Run(ctx context.Context) *Result {
	began, cpu := time.Now(), OwnCPU()
	var next atomic.Int64
	results := make([]*Result, l.Connections)
	var running sync.WaitGroup
	for i := range results {
		results[i] = &Result{Latency: newHistogram()}
		running.Go(func() { l.work(ctx, i, began, &next, results[i]) })
	}
	running.Wait()
	all := &Result{Latency: newHistogram()}
	for _, r := range results {
		all.add(r)
	}
	all.Seconds = time.Since(began).Seconds()
	all.OwnCores = (OwnCPU() - cpu).Seconds() / all.Seconds
	return all
}

// For runs the load for a time.
func (l *Load) For(ctx context.Context, d time.Duration) *Result {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return l.Run(ctx)
}

func (r *Result) add(o *Result) {
	r.Good, r.Wrong, r.Refused, r.Unknown, r.Failed = r.Good+o.Good, r.Wrong+o.Wrong, r.Refused+o.Refused, r.Unknown+o.Unknown, r.Failed+o.Failed
	r.Latency.Merge(o.Latency)
	if r.Example == "" {
		r.Example = o.Example
	}
}

// work is one connection.
func (l *Load) work(ctx context.Context, worker int, began time.Time, next *atomic.Int64, r *Result) {
	c, source := &conn{addr: l.Addr}, l.Source(worker)
	defer c.close()
	for ctx.Err() == nil {
		n := next.Add(1) - 1
		if l.Count > 0 && n >= l.Count {
			return
		}
		due := time.Now()
		if l.Rate > 0 {
			due = began.Add(time.Duration(float64(n) / l.Rate * float64(time.Second)))
			if !sleepUntil(ctx, due) {
				return
			}
		}
		l.ask(ctx, c, source(), due, r)
	}
}

// ask sends one request, again and again if the load is to.
func (l *Load) ask(ctx context.Context, c *conn, request Request, due time.Time, r *Result) {
	for {
		a, err := c.do(ctx, request)
		l.count(r, a, err, time.Since(due))
		refused := a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable
		if err != nil || l.Again == 0 || !refused || !sleepUntil(ctx, time.Now().Add(l.Again)) {
			return
		}
	}
}

func (l *Load) count(r *Result, a answer, err error, took time.Duration) {
	switch {
	case err != nil:
		r.Failed++
		r.example(err.Error())
	case a.status == http.StatusTooManyRequests:
		r.Refused++
	case a.status == http.StatusServiceUnavailable:
		r.Unknown++
	case a.status >= http.StatusMultipleChoices:
		r.Failed++
		r.example(string(a.body))
	case l.Check != nil && !l.Check(a.body):
		r.Wrong++
		r.example(string(a.body))
	default:
		r.Good++
		if l.Taken != nil {
			l.Taken.Add(1)
		}
		_ = r.Latency.RecordValue(min(max(1, took.Microseconds()), longest.Microseconds())) // it is within the bounds
	}
}

func (r *Result) example(text string) {
	if r.Example == "" {
		r.Example = text[:min(len(text), 300)]
	}
}

// sleepUntil waits; it tells whether ctx still goes on.
func sleepUntil(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// OwnCPU is the processor time that this process has used.
func OwnCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
