package risk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice/internal/admission"
	"sluice/internal/httpx"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
)

// Intake is the decisions API's way to the log.
type Intake interface {
	// Prepare decodes and validates an event, and projects it. The problem is ready to be answered.
	Prepare(body []byte, role httpx.Role) (*Pending, *httpx.Problem)
}

// Pending is an event that is to be decided and collected.
type Pending struct {
	Event    *purposepb.RiskEvent // nil: risk may not use it
	BodyHash []byte               // SHA-256 of what the event says
	Warnings []httpx.FieldError   // what of it was set aside or read strictly
	// Collect is one durable write of event and decision: nil when both are acknowledged. After an error they may or may not be on the log.
	Collect func(ctx context.Context, decision []byte) error
}

// APIOptions are the parts that the API puts together.
type APIOptions struct {
	Decider *Decider
	Store   *Store
	Intake  Intake
	Door    *admission.Door  // nil: everybody is let in at once
	Now     func() time.Time // nil = the wall clock: when a decision was made, and until when it holds
}

// Answer is the answer of POST /v1/decisions. Equal decisions give equal bytes.
type Answer struct {
	DecisionID     string    `json:"decision_id"`
	Outcome        string    `json:"outcome" enum:"allow,challenge,review,block" doc:"review means: hold until the verdict."`
	Score          uint32    `json:"score" minimum:"0" maximum:"1000"`
	Reasons        []Reason  `json:"reasons"`
	Rules          []string  `json:"rules" doc:"Rules that hit, in the order of the file."`
	ModelVersion   string    `json:"model_version" doc:"none: rules alone decide."`
	PolicyVersion  string    `json:"policy_version"`
	FeaturesDigest string    `json:"features_digest"`
	AppealToken    string    `json:"appeal_token" doc:"To be given to the person, who can appeal the decision with it."`
	ExpiresAt      time.Time `json:"expires_at" doc:"Until when the caller may act on the answer."`
	Warnings       []Warning `json:"warnings" doc:"What of the event was set aside or read strictly, and so was not decided on."`
}

// Warning never holds a value.
type Warning struct {
	Pointer string `json:"pointer" doc:"RFC 6901."`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// Reason is why, as the caller sees it.
type Reason struct {
	Code  string   `json:"code"`
	Text  string   `json:"text" doc:"For the person; empty where they are not to be told."`
	Value *float64 `json:"value" doc:"Of the first number that the rule's condition reads; null if it reads none that was there."`
}

// Detail is a stored decision as the analyst sees it.
type Detail struct {
	DecisionID     string         `json:"decision_id"`
	Source         string         `json:"source" enum:"api,log" doc:"Who decided: the API before it answered, or the decider from the log."`
	EventType      string         `json:"event_type"`
	Time           time.Time      `json:"time" doc:"Of the event."`
	DecidedAt      time.Time      `json:"decided_at"`
	ExpiresAt      time.Time      `json:"expires_at"`
	Outcome        string         `json:"outcome" enum:"allow,challenge,review,block"`
	Score          uint32         `json:"score"`
	Reasons        []DetailReason `json:"reasons"`
	Rules          []string       `json:"rules"`
	ShadowRules    []string       `json:"shadow_rules" doc:"Rules in shadow that hit; they changed nothing."`
	Undecided      []Undecided    `json:"undecided" doc:"Rules that could not be judged."`
	ModelVersion   string         `json:"model_version"`
	PolicyVersion  string         `json:"policy_version"`
	FeaturesDigest string         `json:"features_digest"`
	AppealToken    string         `json:"appeal_token"`
	Values         []UsedValue    `json:"values" doc:"Every feature at the decision, and what the rules read of the event."`
}

// DetailReason is why, with what the person is not told.
type DetailReason struct {
	Code     string   `json:"code"`
	Text     string   `json:"text"`
	Value    *float64 `json:"value"`
	TellUser bool     `json:"tell_user"`
}

// Undecided is a rule, live or shadow, that did not hit because values were missing.
type Undecided struct {
	Rule    string   `json:"rule"`
	Missing []string `json:"missing"`
}

// UsedValue is a value that a decision stands on.
type UsedValue struct {
	Name  string `json:"name"`
	Value any    `json:"value" doc:"A number, or a text; true is 1, false 0; null if it was missing."`
}

const (
	maxBody        = 32 << 10
	collectTimeout = 10 * time.Second // for the durable write
	turnTimeout    = time.Second      // until it is a request's turn: a payment does not wait longer
	retryAfter     = "1"              // seconds
)

// Register adds the operations.
func Register(api *httpx.API, o APIOptions) {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &decisions{APIOptions: o}
	api.Mux.Handle("POST /v1/decisions", api.Keys.Require(d, httpx.RoleServer))
	described := func(text string) *huma.Response {
		return &huma.Response{Description: text}
	}
	api.Document(&huma.Operation{
		OperationID: "decide", Method: http.MethodPost, Path: "/v1/decisions", Tags: []string{"decisions"}, Summary: "Decide about a sign-up, login or payment",
		Security: httpx.Security(httpx.RoleServer),
		Description: "The body is one event, as on POST /v1/events, of at most 32 KiB; it is also collected. " +
			"The same id with the same body gets the stored answer, byte for byte. Server key.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: eventSchema, Example: paymentExample}}},
		Responses: map[string]*huma.Response{
			"200": api.Answer(answerType, "The decision; event and decision are durable."),
			"409": described("The same event is being decided; see Retry-After."),
			"413": described("The event is larger than 32 KiB."),
			"422": described("The event is not valid, gets no decision, or its id was used for another one (id_reused)."),
			"429": described("Too many decisions are being made; see Retry-After."),
			"503": described("The log cannot be reached; nothing was answered, the same request may be sent again."),
		},
	})
	huma.Register(api.Huma, huma.Operation{
		OperationID: "list-decisions", Method: http.MethodGet, Path: "/v1/decisions", Tags: []string{"decisions"},
		Summary: "List the newest decisions, by outcome", Middlewares: api.Secure(httpx.RoleServer, httpx.RoleOperator), Security: httpx.Security(httpx.RoleServer, httpx.RoleOperator),
	}, d.list)
	huma.Register(api.Huma, huma.Operation{
		OperationID: "show-decision", Method: http.MethodGet, Path: "/v1/decisions/{decision_id}", Tags: []string{"decisions"},
		Summary: "Show a decision with the values that it stands on", Middlewares: api.Secure(httpx.RoleServer, httpx.RoleOperator), Security: httpx.Security(httpx.RoleServer, httpx.RoleOperator),
	}, d.show)
}

// eventSchema names what every event has. Their whole schema is the collector's, which may be in another process.
var eventSchema = &huma.Schema{
	Type: huma.TypeObject, Required: []string{"id", "type", "time", "channel"}, Description: "One event, as POST /v1/events describes it.",
	Properties: map[string]*huma.Schema{
		"id": {Type: huma.TypeString}, "type": {Type: huma.TypeString, Enum: []any{"sign_up", "login", "payment"}}, "time": {Type: huma.TypeString, Format: "date-time"},
		"channel": {Type: huma.TypeString, Enum: []any{"web", "app", "applet", "server"}},
	},
	AdditionalProperties: true,
}

var paymentExample = map[string]any{
	"id": "pay-1", "type": "payment", "time": "2026-11-24T08:00:00Z", "user_id": "ada", "channel": "web",
	"order":        map[string]string{"order_id": "o-1", "value": "19.90", "currency": "GBP", "payment_instrument": "tok_1"},
	"counterparty": map[string]string{"id": "shop", "kind": "seller"}, "device": map[string]string{"id": "d-1"}, "network": map[string]string{"ip": "192.0.2.7"},
}

// decisions serves the API.
type decisions struct{ APIOptions }

// ServeHTTP is POST /v1/decisions.
func (a *decisions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := a.Now()
	made, result, problem := a.answer(w, r)
	defer func() { a.Decider.metrics.latency.WithLabelValues(result).Observe(a.Now().Sub(began).Seconds()) }()
	if problem != nil {
		if problem.Status == http.StatusConflict || problem.Status == http.StatusTooManyRequests || problem.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter)
		}
		httpx.WriteProblem(w, problem)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answerOf(made)) // the client is gone if this fails
}

// What a request came to, as the latency's label.
const (
	resultDecided = "decided"
	resultStored  = "stored"
	resultRefused = "refused"
)

func (a *decisions) answer(w http.ResponseWriter, r *http.Request) (*riskpb.Decision, string, *httpx.Problem) {
	body, problem := readBody(w, r)
	if problem != nil {
		return nil, resultRefused, problem
	}
	select {
	case <-a.Store.CaughtUp():
	default:
		return nil, resultRefused, httpx.NewProblem(http.StatusServiceUnavailable, "starting", "Earlier decisions are not known yet.")
	}
	pending, problem := a.prepare(r.Context(), body)
	if problem != nil {
		return nil, resultRefused, problem
	}
	return a.settle(r.Context(), pending)
}

// prepare takes the event in, when the request's turn comes.
func (a *decisions) prepare(ctx context.Context, body []byte) (*Pending, *httpx.Problem) {
	leave, ok := a.enter(ctx)
	if !ok {
		return nil, httpx.Overloaded()
	}
	defer leave()
	pending, problem := a.Intake.Prepare(body, httpx.RoleFrom(ctx))
	if problem == nil {
		problem = undecidable(pending)
	}
	return pending, problem
}

// enter waits for the request's turn to compute.
func (a *decisions) enter(ctx context.Context) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	return a.Door.Enter(ctx)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *httpx.Problem) {
	if header := r.Header.Get("Content-Type"); header != "" {
		if media, _, err := mime.ParseMediaType(header); err != nil || media != "application/json" {
			return nil, httpx.NewProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Type must be application/json.")
		}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, httpx.NewProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", "The event must not be compressed.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "An event must be at most 32 KiB.")
	}
	if err != nil {
		return nil, httpx.NewProblem(http.StatusBadRequest, "bad_request", "The body could not be read.")
	}
	return body, nil
}

// undecidable is why an event gets no decision; nil if it gets one.
func undecidable(p *Pending) *httpx.Problem {
	if p.Event == nil || len(p.Event.Event) == 0 {
		return httpx.NewProblem(http.StatusUnprocessableEntity, "not_for_risk", "Risk control may not use this event.")
	}
	if !decided(p.Event.Type) {
		return httpx.NewProblem(http.StatusUnprocessableEntity, "invalid", "The event gets no decision.",
			httpx.FieldError{Pointer: "/type", Code: "type_not_decided", Detail: "must be sign_up, login or payment; other events go to /v1/events"})
	}
	return nil
}

// settle gives the event its decision: the stored one, or a new one that is durable with its event.
func (a *decisions) settle(ctx context.Context, p *Pending) (*riskpb.Decision, string, *httpx.Problem) {
	id := idOf(p.Event.Event)
	for {
		stored, err := a.Store.Find(ctx, id)
		if err == nil {
			return repeated(stored, p)
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, resultRefused, unavailable()
		}
		switch a.Store.claim(id) {
		case claimGranted:
			defer a.Store.release(id)
			return a.decide(ctx, id, p)
		case claimBusy:
			return nil, resultRefused, httpx.NewProblem(http.StatusConflict, "in_flight", "The same event is being decided now.")
		case claimFull:
			return nil, resultRefused, httpx.NewProblem(http.StatusTooManyRequests, "too_many", "Too many decisions are being made now.")
		case claimKnown: // by another request, since Find
		}
		if ctx.Err() != nil {
			return nil, resultRefused, unavailable()
		}
	}
}

// repeated is a stored decision, if the event is the one that it was made for. One that the log made knows no body; it is answered as it is.
func repeated(stored *riskpb.Decision, p *Pending) (*riskpb.Decision, string, *httpx.Problem) {
	if len(stored.BodyHash) > 0 && !bytes.Equal(stored.BodyHash, p.BodyHash) {
		return nil, resultRefused, reused()
	}
	return stored, resultStored, nil
}

// decide makes a decision and writes it with its event. If an earlier write of the event ended in doubt, it writes the same decision again. Whichever of the
// two the log has is the one that was answered.
func (a *decisions) decide(ctx context.Context, id ID, p *Pending) (*riskpb.Decision, string, *httpx.Problem) {
	made, data, problem := a.draft(ctx, id, p)
	if problem != nil {
		return nil, resultRefused, problem
	}
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectTimeout) // a caller that hangs up does not break off a write
	defer cancel()
	if err := p.Collect(write, data); err != nil {
		if refused := (*httpx.Problem)(nil); errors.As(err, &refused) && refused.Status < http.StatusInternalServerError {
			return nil, resultRefused, refused
		}
		a.Store.remember(id, data, false)
		return nil, resultRefused, unavailable()
	}
	a.Store.remember(id, data, true)
	a.Decider.metrics.count(made)
	return made, resultDecided, nil
}

// draft is the decision that is to be written, with its bytes.
func (a *decisions) draft(ctx context.Context, id ID, p *Pending) (*riskpb.Decision, []byte, *httpx.Problem) {
	leave, ok := a.enter(ctx)
	if !ok {
		return nil, nil, httpx.Overloaded()
	}
	defer leave()
	if data := a.Store.unsaved(id); data != nil {
		made := new(riskpb.Decision)
		if made.UnmarshalVT(data) != nil {
			return nil, nil, unavailable()
		}
		if !bytes.Equal(made.BodyHash, p.BodyHash) {
			return nil, nil, reused()
		}
		return made, data, nil
	}
	made := a.Decider.decide(p.Event, sourceAPI, a.Now().UnixMicro())
	made.BodyHash = p.BodyHash
	for _, w := range p.Warnings {
		made.Warnings = append(made.Warnings, &riskpb.Warning{Code: w.Code, Pointer: w.Pointer, Detail: w.Detail})
	}
	data, err := made.MarshalVT()
	if err != nil {
		return nil, nil, unavailable()
	}
	return made, data, nil
}

func reused() *httpx.Problem {
	return httpx.NewProblem(http.StatusUnprocessableEntity, "id_reused", "This id was used for another event.",
		httpx.FieldError{Pointer: "/id", Code: "id_reused", Detail: "must be an id of its own, or the same event again"})
}

func unavailable() *httpx.Problem {
	return httpx.NewProblem(http.StatusServiceUnavailable, "log_unavailable", "The log cannot be reached now.")
}

type showInput struct {
	DecisionID string `path:"decision_id"`
}

type showOutput struct{ Body Detail }

func (a *decisions) show(ctx context.Context, in *showInput) (*showOutput, error) {
	notFound := httpx.NewProblem(http.StatusNotFound, "not_found", "No decision with this id is kept.")
	id, err := ParseID(in.DecisionID)
	if err != nil {
		return nil, notFound
	}
	d, err := a.Store.Find(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, notFound
	}
	if err != nil {
		return nil, unavailable()
	}
	return &showOutput{detailOf(d)}, nil
}
