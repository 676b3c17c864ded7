package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

func write(t testing.TB, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// sentEvent is what the fake server reads of an event.
type sentEvent struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Time   string `json:"time"`
	UserID string `json:"user_id"`
	Items  []struct {
		ItemID string `json:"item_id"`
	} `json:"items"`
}

// fakeServer settles rows as the collector and the filter do: rejected without a user, denied for users called no…, duplicate by (user, id).
type fakeServer struct {
	*httptest.Server

	mu        sync.Mutex
	fault     func(path string, n int, w http.ResponseWriter) bool // answers instead of the server, if it returns true; n counts the path's requests
	lose      func(path string, n int) bool                        // the connection breaks after the work is done
	requests  map[string]int
	ids       map[string]bool
	runs      map[string]map[int64]string // run → row → accepted, duplicate
	order     map[string]int64            // user → last row
	disorder  int
	imports   []string
	letters   []map[string]any
	items     []string
	lag       []int64 // successive answers about the lag; then 0
	policy    bool    // rows of people who were not imported are denied
	imported  map[string]bool
	chose     map[string]bool // subjects with a choice of their own: imports of them are ignored
	discard   bool            // rows are accepted unread: for benchmarks
	discarded int
}

func newFakeServer(t testing.TB) *fakeServer {
	t.Helper()
	f := &fakeServer{
		requests: make(map[string]int), ids: make(map[string]bool), runs: make(map[string]map[int64]string), order: make(map[string]int64), imported: make(map[string]bool),
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	path := r.URL.Path
	var rows map[int64]string
	if rest, ok := strings.CutPrefix(path, "/v1/replays/"); ok {
		run, _, _ := strings.Cut(rest, "/")
		if f.runs[run] == nil {
			f.runs[run] = make(map[int64]string)
		}
		rows, path = f.runs[run], "/v1/replays"
		if r.Method == http.MethodPost {
			path = "/v1/replays/events"
		}
	}
	f.requests[path]++
	if f.fault != nil && f.fault(path, f.requests[path], w) {
		return
	}
	answer := f.answer(path, rows, body)
	if f.lose != nil && f.lose(path, f.requests[path]) {
		panic(http.ErrAbortHandler)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (f *fakeServer) answer(path string, rows map[int64]string, body []byte) any {
	switch path {
	case "/v1/replays/events":
		if f.discard {
			n := bytes.Count(body, []byte{'\n'})
			f.discarded += n
			return map[string]any{"accepted": n}
		}
		return f.take(rows, body)
	case "/v1/replays":
		counts := map[string]int{"accepted": f.discarded, "duplicate": 0, "denied": 0}
		for _, outcome := range rows {
			counts[outcome]++
		}
		return counts
	case "/v1/policy":
		purpose := func(name, tier string) map[string]string { return map[string]string{"name": name, "tier": tier} }
		return map[string]any{"version": "2026-01", "purposes": []any{
			purpose("history", "basic"), purpose("risk", "legal"), purpose("personalize", "switchable"), purpose("marketing.sms", "additional"),
		}}
	case "/v1/imports":
		ignored := 0
		for line := range bytes.Lines(body) {
			var i struct {
				Subject string `json:"subject"`
			}
			_ = json.Unmarshal(line, &i)
			f.imports = append(f.imports, string(bytes.TrimSpace(line)))
			f.imported[i.Subject] = true
			if f.chose[i.Subject] {
				ignored++
			}
		}
		return map[string]int{"accepted": bytes.Count(body, []byte{'\n'}), "ignored": ignored}
	case "/v1/dead-letters":
		n := 0
		for line := range bytes.Lines(body) {
			var l map[string]any
			_ = json.Unmarshal(line, &l)
			f.letters = append(f.letters, l)
			n++
		}
		return map[string]int{"accepted": n, "denied": 0}
	case "/v1/items":
		for line := range bytes.Lines(body) {
			f.items = append(f.items, string(bytes.TrimSpace(line)))
		}
		return map[string]int{"accepted": bytes.Count(body, []byte{'\n'})}
	case "/v1/state/lag":
		if len(f.lag) == 0 {
			return map[string]int64{"lag": 0}
		}
		lag := f.lag[0]
		f.lag = f.lag[1:]
		return map[string]int64{"lag": lag}
	}
	return map[string]string{"unexpected": path}
}

// take settles rows at once; a row sent again keeps its outcome.
func (f *fakeServer) take(rows map[int64]string, body []byte) any {
	var a answer
	a.DeniedRows, a.Errors = []int64{}, []rowError{}
	for line := range bytes.Lines(body) {
		var l struct {
			Row   int64     `json:"row"`
			Event sentEvent `json:"event"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			a.Rejected++
			a.Errors = append(a.Errors, rowError{Row: l.Row, Code: "broken_json"})
			continue
		}
		ev := l.Event
		switch {
		case ev.UserID == "":
			a.Rejected++
			a.Errors = append(a.Errors, rowError{Row: l.Row, Code: "missing_field", Pointer: "/user_id", Detail: "user_id or anonymous_id expected"})
		case strings.HasPrefix(ev.UserID, "no") || f.policy && !f.imported["u:"+ev.UserID]:
			a.Denied++
			a.DeniedRows = append(a.DeniedRows, l.Row)
		default:
			a.Accepted++
			if rows[l.Row] != "" {
				continue
			}
			rows[l.Row] = "accepted"
			if key := ev.UserID + " " + ev.ID; f.ids[key] {
				rows[l.Row] = "duplicate"
			} else {
				f.ids[key] = true
			}
			if last := f.order[ev.UserID]; last > l.Row {
				f.disorder++
			}
			f.order[ev.UserID] = l.Row
		}
	}
	return a
}
