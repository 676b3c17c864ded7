package deadletter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/httpx"
)

// Client asks a server about its dead letters, for the command line.
type Client struct {
	To          string // address of the server
	OperatorKey string // lists, shows and marks
	ServerKey   string // collects what is driven again
	HTTP        *http.Client
}

// RowMapper turns a letter's payload, a JSON object, into an event. Equal payloads that come one after the other become different events.
type RowMapper interface {
	MapRow(payload []byte) (event []byte, err error)
}

// List is one page of letters, newest first. Errors: *httpx.Problem from the server.
func (c *Client) List(ctx context.Context, q Query) (Page, error) {
	values := make(url.Values)
	for _, f := range []struct{ name, value string }{
		{"cursor", q.Cursor}, {"stage", q.Stage}, {"code", q.Code}, {"source", q.Source}, {"state", q.State},
	} {
		if f.value != "" {
			values.Set(f.name, f.value)
		}
	}
	if q.Limit > 0 {
		values.Set("limit", strconv.Itoa(q.Limit))
	}
	var page Page
	return page, c.call(ctx, http.MethodGet, "/v1/dead-letters?"+values.Encode(), c.OperatorKey, nil, &page)
}

// All yields every letter that the query selects, page by page.
func (c *Client) All(ctx context.Context, q Query) iter.Seq2[Meta, error] {
	return func(yield func(Meta, error) bool) {
		for {
			page, err := c.List(ctx, q)
			if err != nil {
				yield(Meta{}, err)
				return
			}
			for _, m := range page.DeadLetters {
				if !yield(m, nil) {
					return
				}
			}
			if page.NextCursor == nil {
				return
			}
			q.Cursor = *page.NextCursor
		}
	}
}

// ShownLetter is a letter with its payload, as Show and the API give it.
type ShownLetter struct {
	Meta
	Payload json.RawMessage `json:"payload"` // a JSON value; a string where the input was not JSON
}

// Show is one letter with its payload. Errors: *httpx.Problem with code not_found, or others from the server.
func (c *Client) Show(ctx context.Context, id string) (ShownLetter, error) {
	var shown ShownLetter
	return shown, c.call(ctx, http.MethodGet, "/v1/dead-letters/"+url.PathEscape(id), c.OperatorKey, nil, &shown)
}

// RedriveOptions say which letters to drive again, and how.
type RedriveOptions struct {
	IDs   []string  // none: every letter that Query selects and that is open
	Query Query     // where IDs is empty
	Map   RowMapper // for rows of files; nil: payloads are events already
}

// Result is what became of one letter.
type Result struct {
	ID      string `json:"id"`
	Outcome string `json:"outcome"` // accepted, duplicate, denied (each marked as redriven), or failed
	Code    string `json:"code,omitempty"`
	Pointer string `json:"pointer,omitempty"`
	Detail  string `json:"detail,omitempty"` // what is still wrong
}

// Report is what became of all.
type Report struct {
	Accepted  int      `json:"accepted"`
	Duplicate int      `json:"duplicate"`
	Denied    int      `json:"denied"`
	Failed    int      `json:"failed"`
	Results   []Result `json:"results"`
}

// Redrive maps each letter's payload again, where a map is given, posts it to /v1/events, and marks it when the server has taken it.
// Letters go in the order of their rows. One that is still wrong stays open, with the reason in the report; an error ends the run.
func (c *Client) Redrive(ctx context.Context, o RedriveOptions) (Report, error) {
	var report Report
	letters, err := c.selected(ctx, &o)
	if err != nil {
		return report, err
	}
	for i := range letters {
		result, err := c.redrive(ctx, &letters[i], o.Map)
		if err != nil {
			return report, fmt.Errorf("driving %s again: %w", letters[i].ID, err)
		}
		report.add(result)
	}
	return report, nil
}

func (r *Report) add(x Result) {
	switch x.Outcome {
	case "":
		return // was driven again before
	case "accepted":
		r.Accepted++
	case "duplicate":
		r.Duplicate++
	case "denied":
		r.Denied++
	default:
		r.Failed++
	}
	r.Results = append(r.Results, x)
}

// selected lists the letters to drive again, by source and position. With a map it includes those that were driven again before: a row without an id of its own gets
// one from the number of equal rows before it.
func (c *Client) selected(ctx context.Context, o *RedriveOptions) ([]Meta, error) {
	var letters []Meta
	for _, id := range o.IDs {
		shown, err := c.Show(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		letters = append(letters, shown.Meta)
	}
	if len(o.IDs) == 0 {
		q := o.Query
		q.Limit, q.Cursor, q.State = maxLimit, "", "open"
		if o.Map != nil {
			q.State = ""
		}
		for m, err := range c.All(ctx, q) {
			if err != nil {
				return nil, err
			}
			letters = append(letters, m)
		}
	}
	slices.SortFunc(letters, func(a, b Meta) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), cmp.Compare(a.Position, b.Position))
	})
	return letters, nil
}

// redrive handles one letter. The result has no outcome if the letter was driven again before.
func (c *Client) redrive(ctx context.Context, m *Meta, mapper RowMapper) (Result, error) {
	shown, err := c.Show(ctx, m.ID)
	if err != nil {
		return Result{}, err
	}
	failed := func(code, pointer, detail string) (Result, error) {
		if shown.Redriven {
			return Result{}, nil
		}
		return Result{ID: m.ID, Outcome: "failed", Code: code, Pointer: pointer, Detail: detail}, nil
	}
	event := []byte(shown.Payload)
	switch {
	case len(event) == 0 || event[0] != '{':
		return failed(m.Code, m.Pointer, "the input is not a JSON object: mend it by hand and post it")
	case mapper != nil:
		if event, err = mapper.MapRow(event); err != nil {
			return failed("unmapped", "", err.Error())
		}
	case m.Stage == StageReplay:
		return failed("map_needed", "", "the input is a row of a file: there must be a map")
	}
	if shown.Redriven {
		return Result{}, nil
	}
	result, err := c.collect(ctx, m.ID, event)
	if err != nil || result.Outcome == "failed" {
		return result, err
	}
	return result, c.call(ctx, http.MethodPost, "/v1/dead-letters/"+m.ID+"/redriven", c.OperatorKey, nil, new(Meta))
}

// collected is what POST /v1/events says of one event.
type collected struct {
	Accepted  int                `json:"accepted"`
	Duplicate int                `json:"duplicate"`
	Denied    int                `json:"denied"`
	Errors    []httpx.FieldError `json:"errors"`
}

func (c *Client) collect(ctx context.Context, id string, event []byte) (Result, error) {
	var answer collected
	err := c.call(ctx, http.MethodPost, "/v1/events", c.ServerKey, event, &answer)
	var problem *httpx.Problem
	if errors.As(err, &problem) && (problem.Status == http.StatusBadRequest || problem.Status == http.StatusRequestEntityTooLarge) {
		return Result{ID: id, Outcome: "failed", Code: problem.Code, Detail: problem.Detail}, nil
	}
	if err != nil {
		return Result{}, err
	}
	switch {
	case answer.Accepted > 0:
		return Result{ID: id, Outcome: "accepted"}, nil
	case answer.Duplicate > 0:
		return Result{ID: id, Outcome: "duplicate"}, nil
	case answer.Denied > 0:
		return Result{ID: id, Outcome: "denied"}, nil
	case len(answer.Errors) > 0:
		e := answer.Errors[0]
		return Result{ID: id, Outcome: "failed", Code: e.Code, Pointer: e.Pointer, Detail: e.Detail}, nil
	default:
		return Result{}, errors.New("the server does not say what became of the event")
	}
}

const (
	requestTimeout = time.Minute
	maxAnswer      = 64 << 20
)

// call makes a request. A 422 that accounts for events in its body is decoded like a success. Any other fault is a *httpx.Problem.
func (c *Client) call(ctx context.Context, method, path, key string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.To, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	if answer.StatusCode/100 == 2 {
		return json.Unmarshal(data, into)
	}
	problem := new(httpx.Problem)
	if json.Unmarshal(data, problem) == nil && problem.Code != "" {
		return problem
	}
	if _, events := into.(*collected); events && answer.StatusCode == http.StatusUnprocessableEntity {
		return json.Unmarshal(data, into)
	}
	return fmt.Errorf("%s answered %s", path, answer.Status)
}
