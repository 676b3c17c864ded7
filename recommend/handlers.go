package recommend

import (
	"context"
	"errors"
	"net/http"

	"sluice/internal/canonical"
	"sluice/internal/httpx"
	"sluice/privacyfilter/consent"
)

// attempts is how often a list is made for a person if their consent changes while it is made. After that it is made without the person.
const attempts = 3

// lists are what GET /v1/lists/{list} knows. They are the same for everyone.
var lists = map[string]*Surface{
	"trending": listSurface("trending"),
	"popular":  listSurface("popular"),
	"latest":   listSurface("latest"),
}

func listSurface(name string) *Surface {
	return &Surface{
		Name: "list_" + name, PageSize: 20, Viewed: Allow, Purchased: Allow, Diversity: Diversity{Method: "none", Lambda: 1},
		NonPersonal: []Retriever{{Name: name, Candidates: maxCandidates, Weight: 1}},
	}
}

// recommendations is POST /v1/recommendations.
func (s *service) recommendations(w http.ResponseWriter, r *http.Request) {
	req, problem := readRequest(w, r)
	if problem != nil {
		s.refuse(w, problem)
		return
	}
	q, problem := s.check(req)
	s.serve(w, r, q, problem)
}

// similarItems is GET /v1/items/{id}/similar.
func (s *service) similarItems(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if snapshot := s.Catalogue.Snapshot(); snapshot.Posted() && snapshot.Find(canonical.Text(id)) == nil {
		s.refuse(w, httpx.NewProblem(http.StatusNotFound, "not_found", "The catalogue has no item with this id."))
		return
	}
	surface, _ := s.Config.Surface(similarSurface)
	q, problem := s.checkList(r, surface, []string{canonical.Text(id)})
	s.serve(w, r, q, problem)
}

// list is GET /v1/lists/{list}.
func (s *service) list(w http.ResponseWriter, r *http.Request) {
	surface, known := lists[r.PathValue("list")]
	if !known {
		s.refuse(w, httpx.NewProblem(http.StatusNotFound, "not_found", "The list must be trending, popular or latest."))
		return
	}
	q, problem := s.checkList(r, surface, nil)
	s.serve(w, r, q, problem)
}

// serve makes the list and writes it if what it was made under still holds.
func (s *service) serve(w http.ResponseWriter, r *http.Request, q *query, problem *httpx.Problem) {
	if problem != nil {
		s.refuse(w, problem)
		return
	}
	s.identify(q, r)
	made, err := s.settle(r.Context(), q)
	switch {
	case errors.Is(err, errOverloaded):
		w.Header().Set("Retry-After", "1")
		s.refuse(w, httpx.Overloaded())
	case errors.Is(err, errEncoding):
		s.Logger.Error("could not encode a list", "error", err)
		s.refuse(w, httpx.NewProblem(http.StatusInternalServerError, "error", "The list could not be made."))
	case err != nil:
		s.unknown(w, err)
	default:
		s.write(w, q, made)
	}
}

var (
	errOverloaded = errors.New("too many lists are being made")
	errEncoding   = errors.New("a list cannot be encoded")
)

// settle makes the list when its turn comes, anew while the person's consent changes. What the turn takes is part of the time that the list may take.
func (s *service) settle(ctx context.Context, q *query) (*outcome, error) {
	began := s.Now()
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	leave, ok := s.Door.Enter(ctx)
	if !ok {
		return nil, errOverloaded
	}
	defer leave()
	q.timeout -= s.Now().Sub(began)
	for attempt := 1; ; attempt++ {
		v, err := s.lookup(q.person, q.surface)
		if err != nil {
			return nil, err
		}
		if attempt > attempts && v.because == "" {
			v = v.stranger(becauseDegraded)
		}
		made, err := s.make(q, v)
		if err != nil {
			return nil, err
		}
		if holds, err := s.holds(q, v, attempt); err != nil || holds {
			return made, err
		}
		s.metrics.recomputed.Inc()
	}
}

// holds tells, just before an answer is written, whether it may be. A list that was made without the person after all attempts may, if consent can be known.
func (s *service) holds(q *query, v *visitor, attempt int) (bool, error) {
	if holds := s.Consents.Holds(v.access); holds || attempt <= attempts {
		return holds, nil
	}
	now, err := s.Consents.Lookup(q.person)
	if err != nil {
		return false, err
	}
	if now.Blocks().Digest() != v.access.Blocks().Digest() {
		return false, errUnsettled
	}
	return true, nil
}

// errUnsettled is that a person's blocks change faster than a list is made.
var errUnsettled = errors.New("the person's settings are changing")

func (s *service) write(w http.ResponseWriter, q *query, made *outcome) {
	s.metrics.answered(q.name, made)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(made.body)
}

// unknown answers where consent cannot be known now.
func (s *service) unknown(w http.ResponseWriter, err error) {
	if !errors.Is(err, consent.ErrLeaseLapsed) && !errors.Is(err, errUnsettled) {
		s.Logger.Error("a ranking failed", "error", err)
	}
	w.Header().Set("Retry-After", "1")
	s.refuse(w, httpx.NewProblem(http.StatusServiceUnavailable, "consent_unknown", "The present state of consent is not known here. Try again, or ask without a person."))
}

func (s *service) refuse(w http.ResponseWriter, problem *httpx.Problem) {
	s.metrics.refused.WithLabelValues(problem.Code).Inc()
	httpx.WriteProblem(w, problem)
}
