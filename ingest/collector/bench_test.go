package collector

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest"
	"sluice/internal/httpx"
	"sluice/internal/stream"
)

// nowhere takes events and forgets them: what is measured is the collector alone.
type nowhere struct{}

func (nowhere) Append(context.Context, []ingest.Accepted) error { return nil }

func (nowhere) Newest(*ingest.Event, uint64) int64 { return 0 }

// everyone is let in.
type everyone struct{}

func (everyone) Admit([]*ingest.Event, []bool) error { return nil }

// genuine takes every revision for one that the settings gave.
func genuine(text, _, _ string) (string, bool) { return text, true }

const perPost = 200

// bodies makes n requests of 200 events of 412 bytes, no event twice.
func bodies(n int, array bool) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		lines := make([]string, perPost)
		for j := range lines {
			text := fmt.Sprintf(`{"id":"01JABCDEFGHJKMNPQRS%07d","type":"view_item","time":"2026-03-01T10:00:00.123Z","sent_at":"2026-03-01T10:00:01.456Z","user_id":"customer-%06d",`+
				`"anonymous_id":"v-9f8e7d6c5b4a","session_id":"s-0123456789abcdef","channel":"web","surface":"product_page","locale":"en-GB",`+
				`"items":[{"item_id":"item-%06d","index":3,"quantity":1,"price":"19.99"}],"consent":{"revision":"1-5-4711"}`, i*perPost+j, j*7919%50_000, j%20_000)
			lines[j] = text + strings.Repeat(" ", 411-len(text)) + "}"
		}
		all[i] = []byte(strings.Join(lines, "\n"))
		if array {
			all[i] = []byte("[" + strings.Join(lines, ",") + "]")
		}
	}
	return all
}

// cpu is what this process has used, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for the own process
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmarkPost(b *testing.B, c *Collector, array bool) {
	api := httpx.NewAPI("bench", httpx.NewKeys(map[string]httpx.Role{serverKey: httpx.RoleServer}))
	c.Register(api)
	posts := bodies(64, array)
	b.SetBytes(int64(len(posts[0])))
	b.ReportAllocs()
	began := cpu()
	i := 0
	for b.Loop() {
		if i%len(posts) == 0 {
			c.recent = newRecent(1_000_000) // every event is new
		}
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/events", bytes.NewReader(posts[i%len(posts)]))
		req.Header.Set("Authorization", "Bearer "+serverKey)
		req.Header.Set("Content-Type", typeNDJSON)
		if array {
			req.Header.Set("Content-Type", typeJSON)
		}
		w := httptest.NewRecorder()
		api.Mux.ServeHTTP(w, req)
		if w.Code != http.StatusAccepted || !strings.HasPrefix(w.Body.String(), `{"accepted":200,`) {
			b.Fatal(w.Code, w.Body)
		}
		i++
	}
	b.ReportMetric(float64((cpu()-began).Nanoseconds())/1000/float64(b.N*perPost), "µs-CPU/event")
}

// soon is just after the events were sent.
func soon() time.Time { return time.Date(2026, 3, 1, 10, 0, 2, 0, time.UTC) }

// BenchmarkCollect is the collector without the log.
func BenchmarkCollect(b *testing.B) {
	for name, array := range map[string]bool{"lines": false, "array": true} {
		b.Run(name, func(b *testing.B) {
			c, err := New(Options{Config: defaults(b), Log: nowhere{}, Gate: everyone{}, Place: genuine, Now: soon, Cluster: stream.Cluster{Brokers: []string{"127.0.0.1:1"}, Options: []kgo.Opt{}}})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			benchmarkPost(b, c, array)
		})
	}
}

// BenchmarkCollectAndAppend has the log, and the broker in this process: sealing, pseudonyms, Kafka's protocol and the disk.
func BenchmarkCollectAndAppend(b *testing.B) {
	s := start(b, func(o *Options) { o.Gate, o.Place, o.Now = everyone{}, genuine, soon })
	benchmarkPost(b, s.c, false)
}
