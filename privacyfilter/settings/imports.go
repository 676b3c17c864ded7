package settings

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/canonical"
	"sluice/internal/httpx"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/purposepb"
)

const (
	maxImportBody = 5 << 20
	maxImports    = 10_000
	maxFaults     = 100 // that one answer lists
)

func (s *service) registerImports(api *httpx.API) {
	api.Mux.Handle("POST /v1/imports", api.Keys.Require(http.HandlerFunc(s.postImports), httpx.RoleServer))
	api.Document(&huma.Operation{
		OperationID: "post-imports", Method: http.MethodPost, Path: "/v1/imports", Tags: []string{"settings"}, Summary: "Record what people had accepted and allowed before",
		Description: "NDJSON, at most 5 MiB and 10,000 lines: {subject, policy_version, jurisdiction, grants}. The subject is u: and a user id, or a: and an anonymous id. " +
			"An import yields to every record that its subject has already. Server key. Answers {accepted, ignored} when every node obeys: ignored counts lines of which a grant yielded. " +
			"A faulty line refuses the whole request.",
		Security: httpx.Security(httpx.RoleServer),
		RequestBody: api.Body(reflect.TypeFor[imported](), imported{Subject: "u:ada", PolicyVersion: s.Policy.PolicyVersion(), Jurisdiction: "CN", Grants: []string{privacyfilter.Personalize}},
			"application/x-ndjson", "application/json"),
		Responses: map[string]*huma.Response{
			"200": api.Answer(reflect.TypeFor[importAnswer](), "Recorded, and obeyed everywhere."), "413": {Description: "Too many lines or bytes."},
			"422": {Description: "Lines are faulty; nothing was recorded."}, "429": {Description: "Too many imports are being written; see Retry-After."},
			"503": {Description: "Not recorded, or recorded and not obeyed everywhere yet."},
		},
	})
}

// imported is one line.
type imported struct {
	Subject       string   `json:"subject" doc:"u: and a user id, or a: and an anonymous id."`
	PolicyVersion string   `json:"policy_version" doc:"That the person had accepted."`
	Jurisdiction  string   `json:"jurisdiction"`
	Grants        []string `json:"grants" doc:"Purposes that the person had allowed."`
}

type importAnswer struct {
	Accepted int `json:"accepted" doc:"Lines."`
	Ignored  int `json:"ignored" doc:"Lines of which a grant yielded to the subject's own record."`
}

func (s *service) postImports(w http.ResponseWriter, r *http.Request) {
	lines, problem := s.readImports(http.MaxBytesReader(w, r.Body, maxImportBody))
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), importDeadline)
	defer cancel()
	select {
	case s.imports <- struct{}{}:
		defer func() { <-s.imports }()
	default:
		writeLater(w, http.StatusTooManyRequests, problemBusy())
		return
	}
	if err := s.importAll(ctx, lines); err != nil {
		s.Logger.Warn("could not import consent", "error", err)
		var late *Recorded
		if errors.As(err, &late) {
			writeLater(w, late.Status, late)
			return
		}
		writeLater(w, http.StatusServiceUnavailable, problemLog())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(importAnswer{Accepted: len(lines), Ignored: s.yielded(lines)}) // the client is gone if this fails
}

func writeLater(w http.ResponseWriter, status int, problem any) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", retryAfter.Get("Retry-After"))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem) // the client is gone if this fails
}

// importAll appends the imports and waits until their rows are obeyed everywhere.
func (s *service) importAll(ctx context.Context, lines []imported) error {
	if len(lines) == 0 {
		return nil
	}
	controls := make([]*eventpb.Control, len(lines))
	subjects := make([]string, len(lines))
	for i, l := range lines {
		subjects[i] = l.Subject
		controls[i] = &eventpb.Control{Subject: l.Subject, Surface: "import", Act: &eventpb.Control_Import_{Import: &eventpb.Control_Import{
			PolicyVersion: l.PolicyVersion, Jurisdiction: l.Jurisdiction, Grants: l.Grants,
		}}}
	}
	positions, err := s.append(ctx, controls...)
	if err != nil {
		return fmt.Errorf("appending imports: %w", err)
	}
	revisions := make([]privacyfilter.Revision, len(positions))
	for i, p := range positions {
		revisions[i] = s.revision(p)
	}
	if err := s.View.VisibleAll(ctx, subjects, revisions); err != nil {
		s.metrics.writes.WithLabelValues("import", "late").Add(float64(len(lines)))
		last := len(revisions) - 1
		return recorded(s.revisions.Text(revisions[last], subjects[last]), "The imports are recorded and will take effect, but they are not yet obeyed everywhere. Repeating them does no harm.")
	}
	s.metrics.writes.WithLabelValues("import", "obeyed").Add(float64(len(lines)))
	return nil
}

// yielded counts the lines with a grant that yielded to the subject's own record.
func (s *service) yielded(lines []imported) (n int) {
	for _, l := range lines {
		a, err := s.View.Lookup(l.person())
		if err != nil {
			return n // the lease has lapsed just now: the count is a hint
		}
		record := a.Record()
		own := func(name string) bool {
			p, _ := s.Policy.Purpose(name)
			choice, imported := record.Choice(p)
			return choice != purposepb.Choice_CHOICE_NONE && !imported
		}
		if slices.ContainsFunc(l.Grants, own) {
			n++
		}
	}
	return n
}

func (l *imported) person() consent.Person {
	if id, ok := strings.CutPrefix(l.Subject, users.prefix); ok {
		return consent.Person{UserID: id}
	}
	return consent.Person{AnonymousID: strings.TrimPrefix(l.Subject, visitors.prefix)}
}

// readImports decodes all lines, or says which are faulty.
func (s *service) readImports(body io.Reader) ([]imported, *httpx.Problem) {
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, bodyProblem(err)
	}
	var lines []imported
	var faults []httpx.FieldError
	index := -1
	for text := range bytes.Lines(data) {
		index++
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		if len(lines) == maxImports {
			return nil, httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_many", "A request must have at most 10,000 lines. Nothing was recorded.")
		}
		line, fault := s.parseImport(text)
		if fault != nil && len(faults) < maxFaults {
			at := index
			fault.Index = &at
			faults = append(faults, *fault)
		}
		lines = append(lines, line)
	}
	if len(faults) > 0 {
		return nil, httpx.NewProblem(http.StatusUnprocessableEntity, "invalid", "Lines are faulty. Nothing was recorded.", faults...)
	}
	return lines, nil
}

func bodyProblem(err error) *httpx.Problem {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "The body must be at most 5 MiB.")
	}
	return httpx.NewProblem(http.StatusBadRequest, "bad_request", "The body cannot be read.")
}

// parseImport reads one line. The fault names the field.
func (s *service) parseImport(text []byte) (line imported, fault *httpx.FieldError) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if !utf8.Valid(text) || decoder.Decode(&line) != nil || decoder.More() {
		return line, &httpx.FieldError{Code: "broken_json", Detail: "each line must be one JSON object: {subject, policy_version, jurisdiction, grants}"}
	}
	line.Subject = canonical.Text(line.Subject)
	if !line.validSubject() {
		return line, &httpx.FieldError{Pointer: "/subject", Code: "invalid_subject", Detail: "subject must be u: or a: and an id of 1 to 256 bytes"}
	}
	if person := line.person(); s.Placeholders.Has(person.UserID) || s.Placeholders.Has(person.AnonymousID) {
		return line, &httpx.FieldError{Pointer: "/subject", Code: ingest.CodePlaceholder, Detail: detailPlaceholder}
	}
	if s.Policy.PolicyAge(line.PolicyVersion) != 0 {
		return line, &httpx.FieldError{Pointer: "/policy_version", Code: "unknown_policy_version", Detail: "policy_version must be the policy version in force"}
	}
	if !s.places[line.Jurisdiction] {
		return line, &httpx.FieldError{Pointer: "/jurisdiction", Code: "unknown_jurisdiction", Detail: "jurisdiction must be one that the register knows"}
	}
	for i, name := range line.Grants {
		p, ok := s.Policy.Purpose(name)
		if !ok {
			return line, &httpx.FieldError{Pointer: "/grants/" + strconv.Itoa(i), Code: "unknown_purpose", Detail: "The purpose must be one that the register names."}
		}
		if !p.Tier.Optional() {
			return line, &httpx.FieldError{Pointer: "/grants/" + strconv.Itoa(i), Code: "not_switchable", Detail: "must be a switchable or additional purpose"}
		}
	}
	return line, nil
}

func (l *imported) validSubject() bool {
	for _, k := range []kind{users, visitors} {
		if id, ok := strings.CutPrefix(l.Subject, k.prefix); ok {
			return validID(id)
		}
	}
	return false
}
