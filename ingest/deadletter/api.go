package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"sluice/internal/httpx"
)

// Gate says whether a rejected input of a person may be kept: nothing behavioural is stored of those who have not accepted the policy.
type Gate interface {
	// Keeps tells about an input of which no more is known than this. An error means that it cannot be told now (503).
	Keeps(about About) (bool, error)
}

// About is what could be read of a rejected input. What could not be read is empty.
type About struct {
	UserID       string `json:"user_id" required:"false"`
	AnonymousID  string `json:"anonymous_id" required:"false"`
	Type         string `json:"type" required:"false"`
	Jurisdiction string `json:"jurisdiction" required:"false"`
}

// Known tells whether the input names a person.
func (a About) Known() bool { return a.UserID != "" || a.AnonymousID != "" }

// Meta is a letter without its payload, as the API shows it.
type Meta struct {
	ID       string    `json:"id"`
	Stage    string    `json:"stage" enum:"replay,inbound,filter,warehouse"`
	Code     string    `json:"code" doc:"Stable code of the fault."`
	Pointer  string    `json:"pointer,omitempty" doc:"RFC 6901 pointer to the field at fault."`
	Detail   string    `json:"detail,omitempty" doc:"What must be."`
	Time     time.Time `json:"time"`
	Source   string    `json:"source" doc:"Run of a replay, or topic and partition."`
	Position uint64    `json:"position" doc:"Row, or offset."`
	Index    uint32    `json:"index,omitempty" doc:"Place in the record at the offset, if it holds several; from 0."`
	Redriven bool      `json:"redriven"`
}

// Shown is a letter with its payload: as JSON where it is JSON, else as text.
type Shown struct {
	Meta
	Payload any `json:"payload" doc:"The input as it came: a replayed row is an object, column to text. What is not JSON is a string."`
}

// Page is one page of a list.
type Page struct {
	DeadLetters []Meta  `json:"dead_letters"`
	NextCursor  *string `json:"next_cursor"`
}

const (
	maxBody    = 5 << 20
	maxLetters = 10_000
	maxWord    = 256
	maxText    = 2048
	maxPayload = 512 << 10
)

// Register adds the operations. A nil gate keeps everything.
func Register(api *httpx.API, s *Store, gate Gate) {
	api.Mux.Handle("POST /v1/dead-letters", api.Keys.Require(&intake{store: s, gate: gate}, httpx.RoleServer))
	api.Document(&huma.Operation{
		OperationID: "post-dead-letters", Method: http.MethodPost, Path: "/v1/dead-letters", Tags: []string{"dead letters"}, Summary: "Keep rejected rows of a replay",
		Description: "NDJSON, at most 5 MiB and 10,000 lines: {stage, code, pointer, detail, source, position, payload, user_id, anonymous_id, type, jurisdiction}. " +
			"The last four are asked of the gate and not kept. Server key. Answers {accepted, denied}; a faulty line refuses the whole request.",
		Security:    httpx.Security(httpx.RoleServer),
		RequestBody: api.Body(reflect.TypeFor[posted](), letterExample, "application/x-ndjson", "application/json"),
		Responses: map[string]*huma.Response{
			"202": api.Answer(reflect.TypeFor[postedAnswer](), "Kept."), "400": {Description: "The body cannot be read."}, "413": {Description: "Too large, or too many lines."},
			"422": {Description: "A line is faulty; nothing was kept."}, "503": {Description: "The log cannot be written, or consent not be known, now."},
		},
	})
	operator := api.Secure(httpx.RoleOperator)
	huma.Register(api.Huma, huma.Operation{
		OperationID: "list-dead-letters", Method: http.MethodGet, Path: "/v1/dead-letters", Tags: []string{"dead letters"}, Summary: "List dead letters, newest first", Middlewares: operator, Security: httpx.Security(httpx.RoleOperator),
	}, s.list)
	huma.Register(api.Huma, huma.Operation{
		OperationID: "show-dead-letter", Method: http.MethodGet, Path: "/v1/dead-letters/{id}", Tags: []string{"dead letters"}, Summary: "Show a dead letter with its payload", Middlewares: operator, Security: httpx.Security(httpx.RoleOperator),
	}, s.get)
	huma.Register(api.Huma, huma.Operation{
		OperationID: "mark-dead-letter", Method: http.MethodPost, Path: "/v1/dead-letters/{id}/redriven", Tags: []string{"dead letters"}, Summary: "Mark a dead letter as driven again", Middlewares: operator, Security: httpx.Security(httpx.RoleOperator),
	}, s.mark)
}

type listInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	Cursor string `query:"cursor"`
	Stage  string `query:"stage" enum:"replay,inbound,filter,warehouse"`
	Code   string `query:"code"`
	Source string `query:"source" doc:"Run of a replay, or topic and partition."`
	State  string `query:"state" enum:"open,redriven"`
}

type answer[T any] struct{ Body T }

func (s *Store) list(_ context.Context, in *listInput) (*answer[Page], error) {
	page := Page{DeadLetters: []Meta{}}
	found, next, err := s.index.list(Query(*in))
	if err != nil {
		return nil, httpx.NewProblem(http.StatusUnprocessableEntity, "invalid", "The query is not valid.",
			httpx.FieldError{Pointer: "/cursor", Code: "invalid_cursor", Detail: err.Error()})
	}
	for i := range found {
		page.DeadLetters = append(page.DeadLetters, found[i].meta())
	}
	if next != "" {
		page.NextCursor = &next
	}
	return &answer[Page]{page}, nil
}

func (e *entry) meta() Meta {
	return Meta{
		ID: e.hexID(), Stage: e.stage, Code: e.code, Pointer: e.pointer, Detail: e.detail, Time: time.UnixMicro(e.time).UTC(),
		Source: e.source, Position: e.position, Index: e.index, Redriven: e.redriven,
	}
}

type idInput struct {
	ID string `path:"id"`
}

func (s *Store) get(ctx context.Context, in *idInput) (*answer[Shown], error) {
	e, err := s.entryOf(in.ID)
	if err != nil {
		return nil, problemOf(err)
	}
	l, err := s.show(ctx, &e)
	if err != nil {
		return nil, problemOf(err)
	}
	return &answer[Shown]{Shown{Meta: e.meta(), Payload: payloadOf(l.Payload)}}, nil
}

// payloadOf is the payload as JSON has it: a JSON value as it is, anything else as text.
func payloadOf(b []byte) any {
	if json.Valid(b) && utf8.Valid(b) {
		return json.RawMessage(b)
	}
	return string(bytes.ToValidUTF8(b, []byte("\ufffd")))
}

func (s *Store) mark(ctx context.Context, in *idInput) (*answer[Meta], error) {
	e, err := s.entryOf(in.ID)
	if err != nil {
		return nil, problemOf(err)
	}
	if !e.redriven {
		if err := s.redriven(ctx, &e); err != nil {
			return nil, problemOf(err)
		}
	}
	e.redriven = true
	return &answer[Meta]{e.meta()}, nil
}

func (s *Store) entryOf(id string) (entry, error) {
	key, err := parseID(id)
	if err != nil {
		return entry{}, err
	}
	e, ok := s.index.find(key)
	if !ok {
		return entry{}, ErrNotFound
	}
	return e, nil
}

func problemOf(err error) error {
	if errors.Is(err, ErrNotFound) {
		return httpx.NewProblem(http.StatusNotFound, "not_found", "No dead letter with this id is kept.")
	}
	return httpx.NewProblem(http.StatusServiceUnavailable, "log_unavailable", "The log cannot be reached now.")
}

// intake is POST /v1/dead-letters.
type intake struct {
	store *Store
	gate  Gate
}

// posted is one line.
type posted struct {
	Stage    string          `json:"stage" enum:"replay"`
	Code     string          `json:"code" maxLength:"256" doc:"Stable code of the fault."`
	Pointer  string          `json:"pointer" required:"false" maxLength:"2048" doc:"RFC 6901 pointer to the field at fault."`
	Detail   string          `json:"detail" required:"false" maxLength:"2048" doc:"What must be."`
	Source   string          `json:"source" maxLength:"256" doc:"Run of the replay."`
	Position uint64          `json:"position" required:"false" doc:"Row."`
	Payload  json.RawMessage `json:"payload" doc:"The input as it came, at most 512 KiB. Of what is not JSON, a string."`
	About
}

var letterExample = map[string]any{
	"stage": StageReplay, "code": "unknown_value", "pointer": "/type", "detail": "must be a word that the map lists", "source": "00c0ffee00c0ffee", "position": 5,
	"payload": map[string]string{"what": "stare"}, "user_id": "ada",
}

type postedAnswer struct {
	Accepted int `json:"accepted" doc:"Letters that are kept."`
	Denied   int `json:"denied" doc:"Lines of people of whom nothing may be kept."`
}

func (h *intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	letters, denied, problem := h.read(http.MaxBytesReader(w, r.Body, maxBody))
	if problem == nil {
		if err := h.store.Put(r.Context(), letters...); err != nil {
			problem = httpx.NewProblem(http.StatusServiceUnavailable, "log_unavailable", "The log cannot be written now.")
		}
	}
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(postedAnswer{Accepted: len(letters), Denied: denied}) // the client is gone if this fails
}

// read decodes all lines, or says which one is faulty. Denied counts those that the gate does not let us keep.
func (h *intake) read(body io.Reader) (letters []Letter, denied int, problem *httpx.Problem) {
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, 0, bodyProblem(err)
	}
	line := -1
	for text := range bytes.Lines(data) {
		if line++; line == maxLetters {
			return nil, 0, httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_many", "A request must have at most 10,000 dead letters.")
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		var p posted
		if fault := p.parse(text); fault != nil {
			fault.Index = &line
			return nil, 0, httpx.NewProblem(http.StatusUnprocessableEntity, "invalid", "A line is not a dead letter. Nothing was kept.", *fault)
		}
		if h.gate != nil && p.Known() {
			keeps, err := h.gate.Keeps(p.About)
			if err != nil {
				return nil, 0, httpx.NewProblem(http.StatusServiceUnavailable, "consent_unknown", "The present state of consent is not known here.")
			}
			if !keeps {
				denied++
				continue
			}
		}
		letters = append(letters, p.letter())
	}
	return letters, denied, nil
}

func bodyProblem(err error) *httpx.Problem {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "The body must be at most 5 MiB.")
	}
	return httpx.NewProblem(http.StatusBadRequest, "bad_request", "The body cannot be read.")
}

func (p *posted) parse(line []byte) *httpx.FieldError {
	if json.Unmarshal(line, p) != nil {
		return &httpx.FieldError{Code: "broken_json", Detail: "Each line must be one dead letter as a JSON object."}
	}
	for _, f := range []struct {
		bad             bool
		pointer, detail string
	}{
		{p.Stage != StageReplay, "/stage", "must be replay"},
		{p.Code == "" || len(p.Code) > maxWord, "/code", "must be 1 to 256 bytes"},
		{len(p.Pointer) > maxText, "/pointer", "must be at most 2,048 bytes"},
		{len(p.Detail) > maxText, "/detail", "must be at most 2,048 bytes"},
		{p.Source == "" || len(p.Source) > maxWord, "/source", "must be 1 to 256 bytes"},
		{len(p.Payload) == 0 || len(p.Payload) > maxPayload, "/payload", "must be at most 512 KiB, and not empty"},
	} {
		if f.bad {
			return &httpx.FieldError{Pointer: f.pointer, Code: "invalid", Detail: f.detail}
		}
	}
	return nil
}

// letter makes the letter. A payload that is a JSON string is text: the row as it came.
func (p *posted) letter() Letter {
	payload := []byte(p.Payload)
	var text string
	if payload[0] == '"' && json.Unmarshal(payload, &text) == nil {
		payload = []byte(text)
	}
	return Letter{
		Stage: p.Stage, Code: p.Code, Pointer: p.Pointer, Detail: p.Detail, Source: p.Source, Position: p.Position,
		Payload: payload,
	}
}
