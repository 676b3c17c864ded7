package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/benchmarks/load"
	"sluice/benchmarks/server"
	"sluice/benchmarks/traffic"
	"sluice/systemtest/client"
)

// clickSurfaces are a surface that asks session-kNN alone; the first that the program understands is taken: parameters have had several names.
var clickSurfaces = []string{`surfaces:
  clicks:
    page_size: 20
    personal:
      - {retriever: session_knn, candidates: 20, weight: 1.0, items: 4, neighbours: 288, sample: 1502}
    non_personal:
      - {retriever: popular, candidates: 20}
    seen: {viewed: allow, purchased: allow}
    diversify: {method: none}
`, `surfaces:
  clicks:
    page_size: 20
    personal:
      - {retriever: session_knn, candidates: 20, weight: 1.0, neighbours: 288, sample: 1502}
    non_personal:
      - {retriever: popular, candidates: 20}
    seen: {viewed: allow, purchased: allow}
    diversify: {method: none}
`}

// click is one line of the data.
type click struct {
	session, item string
	at            time.Time
}

// lastItems is how many items of a test session are known when it asks.
const lastItems = 4

// clicks measures session-kNN alone, over HTTP.
func clicks(ctx context.Context, b *bench) error {
	train, err := readClicks(filepath.Join(b.Clicks, "clicks_train.csv.zst"))
	if err != nil {
		return err
	}
	test, err := readClicks(filepath.Join(b.Clicks, "clicks_test.csv.zst"))
	if err != nil {
		return err
	}
	config, err := b.understood(ctx, clickSurfaces)
	if err != nil {
		return err
	}
	s, err := b.demo(ctx, config)
	if err != nil {
		return err
	}
	sessions := cutSessions(test)
	bring := time.Since(test[len(test)-1].at) - time.Minute // the data's end is now
	all := slices.Concat(train, slices.Concat(sessions...))
	if err := b.replayClicks(ctx, s, all, bring); err != nil {
		return err
	}
	ask := func(n int) load.Request {
		session := sessions[n%len(sessions)][0].session
		body := fmt.Appendf(nil, `{"surface":"clicks","user_id":"c-%s","session_id":"c-%s","limit":20}`, session, session)
		return load.NewRequest(http.MethodPost, "/v1/recommendations", client.ServerKey, body)
	}
	b.profile(ctx, s)
	list := func(body []byte) bool { return bytes.Contains(body, []byte(`"personalized":`)) } // some have no neighbour; found says how many have
	if err := b.found(ctx, s, sessions); err != nil {
		return err
	}
	if err := b.ladder(ctx, s, "lists", traffic.Requests(ask, len(sessions)), list, or(b.Rate, 7000), nil); err != nil {
		return err
	}
	b.memory(s, "in the end")
	return nil
}

// found records how many of the test sessions get a list from sessions like theirs.
func (b *bench) found(ctx context.Context, s *server.Server, sessions [][]click) error {
	with := 0
	for _, session := range sessions {
		var list struct {
			Personalized bool
			Items        []struct {
				Reasons []struct{ Code string }
			}
		}
		body := fmt.Appendf(nil, `{"surface":"clicks","user_id":"c-%s","session_id":"c-%s","limit":20}`, session[0].session, session[0].session)
		if err := s.Post(ctx, "/v1/recommendations", body, &list); err != nil {
			return err
		}
		if list.Personalized && len(list.Items) > 0 && len(list.Items[0].Reasons) > 0 && list.Items[0].Reasons[0].Code == "session" {
			with++
		}
	}
	b.record("test sessions whose list comes from sessions like theirs", "%", 100*float64(with)/float64(len(sessions)))
	if with == 0 {
		return errors.New("no list came from session-kNN")
	}
	return nil
}

// readClicks reads a file of clicks in the order of time.
func readClicks(path string) ([]click, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", errMissing, path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	rows := csv.NewReader(plain)
	if _, err := rows.Read(); err != nil {
		return nil, err
	}
	var all []click
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		seconds, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			return nil, err
		}
		whole, part := math.Modf(seconds)
		all = append(all, click{row[0], row[1], time.Unix(int64(whole), int64(part*1e9))})
	}
	slices.SortStableFunc(all, func(a, b click) int { return a.at.Compare(b.at) })
	return all, nil
}

// cutSessions gathers the last items of each session.
func cutSessions(clicks []click) (sessions [][]click) {
	at := make(map[string]int)
	for _, c := range clicks {
		i, ok := at[c.session]
		if !ok {
			i = len(sessions)
			at[c.session] = i
			sessions = append(sessions, nil)
		}
		sessions[i] = append(sessions[i], c)
	}
	for i, s := range sessions {
		sessions[i] = s[max(0, len(s)-lastItems):]
	}
	return sessions
}

// understood is the first of the configurations that the program takes.
func (b *bench) understood(ctx context.Context, configs []string) (string, error) {
	var last []byte
	for _, text := range configs {
		file := filepath.Join(b.dir, "try.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		out, err := exec.CommandContext(ctx, b.Sluice, "config", "check", file).CombinedOutput()
		if err == nil {
			return text, nil
		}
		last = out
	}
	return "", fmt.Errorf("the program understands no configuration of this scenario: %s", last)
}

// replayClicks makes a person of each session and sends what they looked at, brought forward in time.
func (b *bench) replayClicks(ctx context.Context, s *server.Server, all []click, forward time.Duration) error {
	people := make(map[string]bool)
	var ids []string
	for _, c := range all {
		if !people[c.session] {
			people[c.session] = true
			ids = append(ids, "c-"+c.session)
		}
	}
	if err := accept(ctx, s, "u:", func(n int) string { return ids[n] }, len(ids)); err != nil {
		return err
	}
	const batch = 1000
	for from := 0; from < len(all); from += batch {
		var body []byte
		for i, c := range all[from:min(from+batch, len(all))] {
			body = fmt.Appendf(body, `{"id":"c-%d","type":"view_item","time":%q,"user_id":"c-%s","session_id":"c-%s","channel":"web","items":[{"item_id":%q}]}`+"\n",
				from+i, c.at.Add(forward).UTC().Format(time.RFC3339Nano), c.session, c.session, c.item)
		}
		if err := bulk(ctx, s, "/v1/events", [][]byte{body}); err != nil {
			return err
		}
	}
	return s.Settle(ctx)
}
