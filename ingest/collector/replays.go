package collector

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"sluice/ingest"
	"sluice/internal/httpx"
)

// parseRun reads the run's id: 16 hex digits, not all zero.
func parseRun(s string) (uint64, *httpx.Problem) {
	run, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 || run == 0 {
		return 0, httpx.NewProblem(http.StatusUnprocessableEntity, "invalid_run", "The run must be 16 hexadecimal digits.")
	}
	return run, nil
}

// postRows is POST /v1/replays/{run}/events. Rows that are sent again are appended again: the filter settles them by their number.
func (c *Collector) postRows(w http.ResponseWriter, r *http.Request) {
	who, problem := c.callerOf(r, httpx.RoleServer)
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	run, problem := parseRun(r.PathValue("run"))
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	body, problem := c.read(w, r, typeNDJSON, typeJSON)
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	defer body.free()
	room, problem := c.reserveLater(r.Context(), body)
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	defer room.leave()
	answer, problem := c.rows(r.Context(), room, who, run, body)
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	c.countRows(answer)
	if answer.Accepted > 0 || answer.Rejected == 0 {
		writeJSON(w, http.StatusAccepted, answer)
		return
	}
	writeJSON(w, http.StatusUnprocessableEntity, &rowsRefused{refusal(http.StatusUnprocessableEntity, "rejected", "No row was accepted."), *answer})
}

func (c *Collector) countRows(a *rowsAnswer) {
	s := c.events[stageReplay]
	s.accepted.Add(float64(a.Accepted))
	s.denied.Add(float64(a.Denied))
	s.rejected.Add(float64(a.Rejected))
}

// rows takes a body of lines {"row":n,"event":{…}}. A line without a row cannot be accounted for, so nothing of such a body is taken.
func (c *Collector) rows(ctx context.Context, room *room, who *caller, run uint64, body *body) (*rowsAnswer, *httpx.Problem) {
	lines, problem := splitLines(body.text())
	if problem != nil {
		return nil, problem
	}
	if len(lines) == 0 {
		return nil, emptyBody()
	}
	a, accepted, problem := c.takeRows(ctx, who, run, body, lines)
	if problem == nil {
		problem = room.take(len(accepted))
	}
	if problem != nil {
		return nil, problem
	}
	if err := c.append(ctx, accepted); err != nil {
		return nil, unavailable(err)
	}
	a.Accepted = len(accepted)
	return a, nil
}

// takeRows decodes lines and asks the gate about their events, when the request's turn comes.
func (c *Collector) takeRows(ctx context.Context, who *caller, run uint64, body *body, lines [][]byte) (*rowsAnswer, []ingest.Accepted, *httpx.Problem) {
	leave, ok := c.enter(ctx)
	if !ok {
		return nil, nil, httpx.Overloaded()
	}
	defer leave()
	a := &rowsAnswer{DeniedRows: []uint64{}, Errors: []rowError{}}
	events, rows := make([]*ingest.Event, 0, len(lines)), make([]uint64, 0, len(lines))
	for i, line := range lines {
		row, event, ok := cutRow(line)
		if !ok {
			return nil, nil, httpx.NewProblem(http.StatusBadRequest, "broken_row", fmt.Sprintf(`Entry %d must be {"row":n,"event":{…}} with n from 1. Nothing was stored.`, i))
		}
		ev, warnings, fault := body.decoder.Decode(event)
		if fault == nil {
			warnings, fault = c.settle(who, ev, warnings)
		}
		if fault != nil {
			a.Rejected++
			a.Errors = append(a.Errors, rowError{Row: row, Code: fault.Code, Pointer: fault.Pointer, Detail: fault.Detail})
			continue
		}
		c.told(stageReplay, warnings)
		events, rows = append(events, ev), append(rows, row)
	}
	denied, err := c.admit(events)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	accepted := make([]ingest.Accepted, 0, len(events))
	for i, ev := range events {
		if denied[i] {
			a.Denied++
			a.DeniedRows = append(a.DeniedRows, rows[i])
			continue
		}
		accepted = append(accepted, ingest.Accepted{Event: ev, ReceivedAt: who.received, TrustedClock: true, Run: run, Row: rows[i]})
	}
	return a, accepted, nil
}

// cutRow takes a line apart, at once where it is written as our own sender does.
func cutRow(line []byte) (row uint64, event []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"row":`))
	if !ok {
		return parseRow(line)
	}
	number, rest, ok := bytes.Cut(rest, []byte(`,"event":`))
	if !ok || rest[len(rest)-1] != '}' {
		return parseRow(line)
	}
	row, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || row == 0 || number[0] == '0' {
		return parseRow(line)
	}
	return row, rest[:len(rest)-1], true
}

// parseRow takes a line apart however it is written.
func parseRow(line []byte) (row uint64, event []byte, ok bool) {
	r := newReader(line)
	if open, err := r.ReadToken(); err != nil || open.Kind() != '{' {
		return 0, nil, false
	}
	for r.PeekKind() == '"' {
		name, err := r.ReadToken()
		if err != nil {
			return 0, nil, false
		}
		member := name.String()
		value, err := r.value()
		if err != nil {
			return 0, nil, false
		}
		switch member {
		case "row":
			if row, err = strconv.ParseUint(string(value), 10, 64); err != nil {
				return 0, nil, false
			}
		case "event":
			event = value
		}
	}
	shut, err := r.ReadToken()
	whole := err == nil && shut.Kind() == jsontext.KindEndObject && len(trim(line[r.InputOffset():])) == 0
	return row, event, whole && row > 0 && event != nil
}

type runInput struct {
	Run string `path:"run" doc:"16 hexadecimal digits."`
}

type runAnswer struct {
	Body struct {
		Accepted  int64 `json:"accepted"`
		Duplicate int64 `json:"duplicate" doc:"Already accepted within 7 days, by subject and id."`
		Denied    int64 `json:"denied" doc:"No purpose may use them, as the filter found."`
		Rejected  int64 `json:"rejected" doc:"Not usable, as the filter found, such as what every purpose's retention has expired: see the dead letters."`
	}
}

// getRun is GET /v1/replays/{run}.
func (c *Collector) getRun(_ context.Context, in *runInput) (*runAnswer, error) {
	run, problem := parseRun(in.Run)
	if problem != nil {
		return nil, problem
	}
	var a runAnswer
	a.Body.Accepted, a.Body.Duplicate, a.Body.Denied, a.Body.Rejected = c.o.Runs.Settled(run)
	return &a, nil
}
