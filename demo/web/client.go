package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/internal/httpx"
)

// Client calls the API over HTTP with a server key, as a shop's back end does.
type Client struct {
	base string
	key  string
	http *http.Client
}

// NewClient makes a client of the API at base ("http://127.0.0.1:8080"), over a transport of its own unless that is nil.
func NewClient(base, key string, transport http.RoundTripper) *Client {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a redirect would repeat a write elsewhere
	return &Client{base: base, key: key, http: &http.Client{Timeout: 15 * time.Second, Transport: transport, CheckRedirect: stay}}
}

// person is who a request is about.
type person struct {
	User, Anonymous string
	GPC             bool
	Known           string // revision that the page was made from; empty = not told
}

// path is where the person's settings live.
func (p person) path() string {
	if p.User != "" {
		return "/v1/users/" + url.PathEscape(p.User)
	}
	return "/v1/visitors/" + url.PathEscape(p.Anonymous)
}

// recommendation is an answer of the ranking API.
type recommendation struct {
	ID           string   `json:"recommendation_id"`
	Personalized bool     `json:"personalized"`
	Because      string   `json:"not_personalized_because"`
	Items        []ranked `json:"items"`
	NextCursor   string   `json:"next_cursor"`
}

type ranked struct {
	ItemID  string   `json:"item_id"`
	Score   float64  `json:"score"`
	Reasons []reason `json:"reasons"`
}

type reason struct {
	Code   string `json:"code"`
	ItemID string `json:"item_id"`
	Text   string `json:"text"`
}

// consentState is what GET consent answers.
type consentState struct {
	Policy struct {
		Version  string `json:"version"`
		Accepted bool   `json:"accepted"`
	} `json:"policy"`
	Jurisdiction string                  `json:"jurisdiction"`
	Purposes     map[string]purposeState `json:"purposes"`
	Revision     string                  `json:"revision"`
}

type purposeState struct {
	Effective string  `json:"effective"`
	Choice    *string `json:"choice"` // the person's own; nil: none
	Because   string  `json:"because"`
}

// policyText is what GET /v1/policy answers.
type policyText struct {
	Version  string    `json:"version"`
	Purposes []purpose `json:"purposes"`
}

type purpose struct {
	Name   string `json:"name"`
	Doc    string `json:"doc"`
	Tier   string `json:"tier"` // basic, switchable, additional or legal
	Clause string `json:"clause"`
}

type footprint struct {
	EventID string    `json:"event_id"`
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	ItemIDs []string  `json:"item_ids"`
	Search  string    `json:"search_term"`
}

type blocks struct {
	Items      []string `json:"items"`
	Categories []string `json:"categories"`
}

// written is the answer to a settings write.
type written struct {
	Revision    string    `json:"revision"`
	EffectiveAt time.Time `json:"effective_at"`
}

// do sends a request and decodes the answer; a problem comes back as *httpx.Problem.
func (c *Client) do(ctx context.Context, who person, method, path string, body, into any) error {
	if segments := strings.Split(path, "/"); slices.Contains(segments, ".") || slices.Contains(segments, "..") { // an id that would name another path
		return errNotFound
	}
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if who.Known != "" {
		req.Header.Set("Sluice-Revision", who.Known)
	}
	if who.GPC {
		req.Header.Set("Sec-GPC", "1")
	}
	answer, err := c.http.Do(req)
	if address := (*url.Error)(nil); errors.As(err, &address) { // its text is the whole address, with a person's id in it; errors are logged
		return fmt.Errorf("%s: %w", method, address.Err)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		problem := new(httpx.Problem)
		if json.Unmarshal(data, problem) != nil || problem.Code == "" {
			return fmt.Errorf("%s: %s", method, answer.Status)
		}
		return problem
	}
	if into == nil || len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, into)
}

// hasCode tells whether err is the API's problem with this code.
func hasCode(err error, code string) bool {
	problem := new(httpx.Problem)
	return errors.As(err, &problem) && problem.Code == code
}

// hasStatus tells whether err is the API's problem with this status.
func hasStatus(err error, status int) bool {
	problem := new(httpx.Problem)
	return errors.As(err, &problem) && problem.Status == status
}
