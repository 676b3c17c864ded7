package deadletter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sluice/ingest/deadletter"
	"sluice/internal/broker/brokertest"
	"sluice/internal/httpx"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

var keys = httpx.NewKeys(map[string]httpx.Role{"w": httpx.RoleWrite, "s": httpx.RoleServer, "o": httpx.RoleOperator})

// gate keeps what concerns everyone but the people called no…; lapsed, it cannot tell.
type gate struct{ lapsed bool }

func (g gate) Keeps(about deadletter.About) (bool, error) {
	if g.lapsed {
		return false, errors.New("lapsed")
	}
	return !strings.HasPrefix(about.UserID, "no"), nil
}

func startBroker(t *testing.T) stream.Cluster {
	t.Helper()
	return brokertest.Cluster(t)
}

// serve runs a store with its API. Times are 1 ms apart, so that the order of letters is the order in which they were put.
func serve(t *testing.T, cluster stream.Cluster, g deadletter.Gate, more func(*httpx.API)) (*deadletter.Store, *httptest.Server) {
	t.Helper()
	clock := time.UnixMilli(1_700_000_000_000)
	store, err := deadletter.Open(cluster, seal.NewKeyring([32]byte{7}), deadletter.Options{Now: func() time.Time {
		clock = clock.Add(time.Millisecond)
		return clock
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	api := httpx.NewAPI("test", keys)
	deadletter.Register(api, store, g)
	if more != nil {
		more(api)
	}
	server := httptest.NewServer(api.Mux)
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		store.Close()
	})
	select {
	case <-store.CaughtUp():
	case <-time.After(20 * time.Second):
		t.Fatal("the store did not catch up")
	}
	return store, server
}

// call makes a request and returns status and body.
func call(t *testing.T, server *httptest.Server, method, path, key, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

func line(position int, user, payload string) string {
	return fmt.Sprintf(`{"stage":"replay","code":"invalid_time","pointer":"/time","detail":"a time expected","source":"00000000000000ab","position":%d,"user_id":%q,"payload":%s}`+"\n",
		position, user, payload)
}

// listed waits until n letters are listed and returns them.
func listed(t *testing.T, c *deadletter.Client, q deadletter.Query, n int) []deadletter.Meta {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		var all []deadletter.Meta
		for m, err := range c.All(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
		}
		if len(all) == n || time.Now().After(deadline) {
			if len(all) != n {
				t.Fatalf("%d letters listed, expected %d", len(all), n)
			}
			return all
		}
	}
}

func TestLettersAreKeptSealedAndListed(t *testing.T) {
	cluster := startBroker(t)
	_, server := serve(t, cluster, gate{}, nil)
	client := &deadletter.Client{To: server.URL, OperatorKey: "o"}
	body := line(1, "u1", `{"time":"soon"}`) + "\n" + line(2, "no1", `{"time":"never"}`) + line(3, "", `"1,2,broken \"row"`) + line(4, "u1", `{"time":"soon"}`)
	for range 2 { // a retry doubles nothing
		status, answer := call(t, server, http.MethodPost, "/v1/dead-letters", "s", body)
		if diff := cmp.Diff(`202 {"accepted":3,"denied":1}`, fmt.Sprint(status, " ", strings.TrimSpace(answer))); diff != "" {
			t.Fatal(diff)
		}
	}
	all := listed(t, client, deadletter.Query{Limit: 1}, 3) // three pages
	var positions []uint64
	for _, m := range all {
		positions = append(positions, m.Position)
	}
	if diff := cmp.Diff([]uint64{1, 3, 4}, positions, cmpopts.SortSlices(func(a, b uint64) bool { return a < b })); diff != "" {
		t.Error(diff)
	}
	for _, m := range all {
		want := map[uint64]string{1: `{"time":"soon"}`, 3: `"1,2,broken \"row"`, 4: `{"time":"soon"}`}[m.Position]
		shown, err := client.Show(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		wantMeta := deadletter.Meta{
			ID: m.ID, Stage: "replay", Code: "invalid_time", Pointer: "/time", Detail: "a time expected", Time: m.Time, Source: "00000000000000ab", Position: m.Position,
		}
		if diff := cmp.Diff(deadletter.ShownLetter{Meta: wantMeta, Payload: json.RawMessage(want)}, shown); diff != "" {
			t.Error(diff)
		}
	}
	onTopic := 0
	err := stream.ReadAll(t.Context(), cluster, topics.DeadLetters, func(recs []stream.Record) {
		for _, r := range recs {
			onTopic++
			if bytes.Contains(r.Value, []byte("soon")) || bytes.Contains(r.Value, []byte("u1")) {
				t.Error("a payload or a person stands on the topic in the clear")
			}
		}
	})
	if err != nil || onTopic != 6 {
		t.Errorf("%d records, error %v", onTopic, err)
	}
	_, restarted := serve(t, cluster, gate{}, nil)
	listed(t, &deadletter.Client{To: restarted.URL, OperatorKey: "o"}, deadletter.Query{}, 3)
	listed(t, &deadletter.Client{To: restarted.URL, OperatorKey: "o"}, deadletter.Query{Code: "other"}, 0)
}

func TestRefusals(t *testing.T) {
	cluster := startBroker(t)
	_, server := serve(t, cluster, gate{lapsed: true}, nil)
	unknown := "/v1/dead-letters/" + strings.Repeat("0", 32)
	for _, c := range []struct{ name, method, path, key, body, want string }{
		{"no key", "GET", "/v1/dead-letters", "", "", "401 missing_key"},
		{"list with a server key", "GET", "/v1/dead-letters", "s", "", "403 wrong_key"},
		{"show with a server key", "GET", unknown, "s", "", "403 wrong_key"},
		{"post with an operator key", "POST", "/v1/dead-letters", "o", "", "403 wrong_key"},
		{"post with a write key", "POST", "/v1/dead-letters", "w", "", "403 wrong_key"},
		{"mark with a server key", "POST", unknown + "/redriven", "s", "", "403 wrong_key"},
		{"unknown letter", "GET", unknown, "o", "", "404 not_found"},
		{"not an id", "GET", "/v1/dead-letters/x", "o", "", "404 not_found"},
		{"mark an unknown letter", "POST", unknown + "/redriven", "o", "", "404 not_found"},
		{"bad cursor", "GET", "/v1/dead-letters?cursor=x", "o", "", "422 invalid /cursor"},
		{"bad limit", "GET", "/v1/dead-letters?limit=5000", "o", "", "422 invalid /query/limit"},
		{"bad stage", "GET", "/v1/dead-letters?stage=x", "o", "", "422 invalid /query/stage"},
		{"broken line", "POST", "/v1/dead-letters", "s", "{", "422 invalid "},
		{"foreign stage", "POST", "/v1/dead-letters", "s", `{"stage":"filter","code":"x","source":"r","payload":1}`, "422 invalid /stage"},
		{"no payload", "POST", "/v1/dead-letters", "s", `{"stage":"replay","code":"x","source":"r"}`, "422 invalid /payload"},
		{"no source", "POST", "/v1/dead-letters", "s", `{"stage":"replay","code":"x","payload":1}`, "422 invalid /source"},
		{"too large", "POST", "/v1/dead-letters", "s", strings.Repeat("x", 6<<20), "413 too_large"},
		{"lapsed gate", "POST", "/v1/dead-letters", "s", line(1, "u1", "1"), "503 consent_unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := call(t, server, c.method, c.path, c.key, c.body)
			var p httpx.Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatal(err, body)
			}
			got := fmt.Sprint(status, " ", p.Code)
			if len(p.Errors) > 0 {
				got += " " + p.Errors[0].Pointer
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff, body)
			}
		})
	}
	if _, body := call(t, server, "GET", "/v1/dead-letters", "o", ""); strings.TrimSpace(body) != `{"dead_letters":[],"next_cursor":null}` {
		t.Errorf("a refused request has kept something: %s", body)
	}
}

// mapper stands in for a map file: it mends what it knows.
type mapper struct{}

func (mapper) MapRow(payload []byte) ([]byte, error) {
	if bytes.Contains(payload, []byte("hopeless")) {
		return nil, errors.New("column x: a number expected")
	}
	return bytes.Replace(payload, []byte("row"), []byte("event"), 1), nil
}

// collector answers as POST /v1/events does, by what the event holds.
func collector(seen *[]string) func(*httpx.API) {
	return func(api *httpx.API) {
		api.Mux.Handle("POST /v1/events", api.Keys.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			*seen = append(*seen, string(data))
			for word, answer := range map[string]string{
				"fine": `202{"accepted":1,"duplicate":0,"denied":0,"rejected":0}`, "again": `202{"accepted":0,"duplicate":1,"denied":0,"rejected":0}`,
				"off": `202{"accepted":0,"duplicate":0,"denied":1,"rejected":0}`, "row": `400{"code":"bad_request","detail":"an event expected","status":400}`,
				"wrong": `422{"accepted":0,"rejected":1,"errors":[{"index":0,"code":"missing_field","pointer":"/type","detail":"a type expected"}]}`,
			} {
				if bytes.Contains(data, []byte(word)) {
					var status int
					fmt.Sscan(answer[:3], &status)
					w.WriteHeader(status)
					io.WriteString(w, answer[3:])
					return
				}
			}
		}), httpx.RoleServer))
	}
}

func TestRedrive(t *testing.T) {
	cluster := startBroker(t)
	var seen []string
	store, server := serve(t, cluster, nil, collector(&seen))
	client := &deadletter.Client{To: server.URL, OperatorKey: "o", ServerKey: "s"}
	put := func(stage string, position uint64, payload string) string {
		l := deadletter.Letter{Stage: stage, Code: "unknown_value", Source: "r", Position: position, Payload: []byte(payload)}
		if err := store.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", l.ID())
	}
	fine, again, off := put("inbound", 1, `{"fine":1}`), put("inbound", 2, `{"again":1}`), put("inbound", 3, `{"off":1}`)
	wrong, text, row := put("inbound", 4, `{"wrong":1}`), put("inbound", 5, `not JSON`), put("replay", 6, `{"row":"fine"}`)
	hopeless := put("replay", 7, `{"row":"hopeless"}`)
	listed(t, client, deadletter.Query{}, 7)

	report, err := client.Redrive(t.Context(), deadletter.RedriveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := deadletter.Report{Accepted: 1, Duplicate: 1, Denied: 1, Failed: 4, Results: []deadletter.Result{
		{ID: fine, Outcome: "accepted"},
		{ID: again, Outcome: "duplicate"},
		{ID: off, Outcome: "denied"},
		{ID: wrong, Outcome: "failed", Code: "missing_field", Pointer: "/type", Detail: "a type expected"},
		{ID: text, Outcome: "failed", Code: "unknown_value", Detail: "the input is not a JSON object: mend it by hand and post it"},
		{ID: row, Outcome: "failed", Code: "map_needed", Detail: "the input is a row of a file: there must be a map"},
		{ID: hopeless, Outcome: "failed", Code: "map_needed", Detail: "the input is a row of a file: there must be a map"},
	}}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Error(diff)
	}
	listed(t, client, deadletter.Query{State: "open"}, 4)
	listed(t, client, deadletter.Query{State: "redriven"}, 3)

	seen = nil
	report, err = client.Redrive(t.Context(), deadletter.RedriveOptions{Map: mapper{}, Query: deadletter.Query{Stage: "replay"}})
	if err != nil {
		t.Fatal(err)
	}
	want = deadletter.Report{Accepted: 1, Failed: 1, Results: []deadletter.Result{
		{ID: row, Outcome: "accepted"}, {ID: hopeless, Outcome: "failed", Code: "unmapped", Detail: "column x: a number expected"},
	}}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`{"event":"fine"}`}, seen); diff != "" {
		t.Error(diff)
	}

	seen = nil
	report, err = client.Redrive(t.Context(), deadletter.RedriveOptions{IDs: []string{row}, Map: mapper{}})
	if diff := cmp.Diff(deadletter.Report{}, report); diff != "" || err != nil || seen != nil {
		t.Error("a letter was driven twice", diff, err, seen)
	}
	var problem *httpx.Problem
	_, err = client.Redrive(t.Context(), deadletter.RedriveOptions{IDs: []string{"x"}})
	if !errors.As(err, &problem) || problem.Code != "not_found" {
		t.Errorf("an unknown letter: %v", err)
	}
}
