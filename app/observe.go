package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/internal/httpx"
)

// newRegistry is a metrics registry with what every process has.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// measured wraps the API: it times requests by route, gives each a deadline, passes it through the front, and turns a panic into a 500.
func measured(api *httpx.API, front *httpx.Front, reg prometheus.Registerer, logger *slog.Logger) http.Handler {
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sluice_http_request_seconds", Help: "Duration of requests by route and status.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
	}, []string{"route", "status"})
	reg.MustRegister(latency)
	slow := new(slowRequests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		_, route := api.Mux.Handler(r)
		recorder := &statusRecorder{ResponseWriter: w}
		defer func() {
			if fault := recover(); fault != nil {
				logger.Error("a request failed with a fault of the program", "route", route, "fault", fault, "stack", string(debug.Stack()))
				if recorder.status == 0 {
					httpx.WriteProblem(recorder, httpx.NewProblem(http.StatusInternalServerError, "internal", "Something went wrong here; it has been logged."))
				}
			}
			if route == "" {
				route = "none"
			}
			took := time.Since(began)
			latency.WithLabelValues(route, strconv.Itoa(max(recorder.status, http.StatusOK))).Observe(took.Seconds())
			slow.note(logger, route, recorder.status, took)
		}()
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		next := api.Mux.ServeHTTP
		if route == "" {
			next = api.Unrouted
		}
		front.Serve(recorder, r.WithContext(ctx), next)
	})
}

// slowRequest is how long a request may take before the log tells of it.
const slowRequest = 2 * time.Second

// slowRequests logs requests that took long, at most one a second.
type slowRequests struct{ told atomic.Int64 } // second in which one was told of last

func (s *slowRequests) note(logger *slog.Logger, route string, status int, took time.Duration) {
	if took < slowRequest {
		return
	}
	now := time.Now().Unix()
	if last := s.told.Load(); last != now && s.told.CompareAndSwap(last, now) {
		logger.Info("a request took long", "route", route, "status", status, "took", took.Round(time.Millisecond).String())
	}
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status.
func (r *statusRecorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer began.
func (r *statusRecorder) Write(data []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// readiness collects the conditions for sending requests here. All are added before anyone asks.
type readiness struct {
	roles  []string // of the process
	role   string   // that checks are being added for; empty: every role stands on them
	checks []check
	notes  []check // what is worth knowing of a part that is ready

	leaving atomic.Bool // a stop was asked for
}

// check tells why a part is not ready; empty if it is.
type check struct {
	role, name string
	why        func() string
}

func (r *readiness) add(name string, why func() string) {
	r.checks = append(r.checks, check{r.role, name, why})
}

// note adds something worth knowing, which does not make the process wait; empty: nothing now.
func (r *readiness) note(name string, what func() string) {
	r.notes = append(r.notes, check{r.role, name, what})
}

// state is what /readyz answers.
type state struct {
	Status  string            `json:"status"`            // ready or waiting
	Roles   map[string]string `json:"roles"`             // the same for each role
	Waiting map[string]string `json:"waiting,omitempty"` // parts that are not ready, with the reason
	Notes   map[string]string `json:"notes,omitempty"`   // what is worth knowing
}

const (
	ready   = "ready"
	waiting = "waiting"
)

func (r *readiness) state() state {
	now := state{Status: ready, Roles: make(map[string]string), Waiting: make(map[string]string), Notes: make(map[string]string)}
	for _, role := range r.roles {
		now.Roles[role] = ready
	}
	for _, c := range r.checks {
		why := c.why()
		if why == "" {
			continue
		}
		now.Status, now.Waiting[c.name] = waiting, why
		for _, role := range r.roles {
			if c.role == "" || c.role == role {
				now.Roles[role] = waiting
			}
		}
	}
	for _, n := range r.notes {
		if what := n.why(); what != "" {
			now.Notes[n.name] = what
		}
	}
	if r.leaving.Load() {
		now.Status, now.Waiting["process"] = waiting, "stopping"
		for _, role := range r.roles {
			now.Roles[role] = waiting
		}
	}
	return now
}

// closedCheck is ready once the channel is closed.
func closedCheck(ready <-chan struct{}, why string) func() string {
	return func() string {
		select {
		case <-ready:
			return ""
		default:
			return why
		}
	}
}

// registerHealth adds /healthz, /readyz and /metrics.
func registerHealth(api *httpx.API, readiness *readiness, registry *prometheus.Registry) {
	api.Mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	api.Mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		now := readiness.state()
		verdict := now.Status
		if role := r.URL.Query().Get("role"); role != "" {
			verdict = now.Roles[role] // none: this process does not have it
		}
		status := http.StatusOK
		if verdict != ready {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, now)
	})
	documentHealth(api)
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	api.Mux.Handle("GET /metrics", api.Keys.Require(metrics, httpx.RoleOperator))
}

// documentHealth describes what monitoring asks for.
func documentHealth(api *httpx.API) {
	of := func(id, path, summary string, security []map[string][]string, answer *huma.Response) {
		api.Document(&huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"state"}, Summary: summary, Security: security, Responses: map[string]*huma.Response{"200": answer},
		})
	}
	text := func(doc string) *huma.Response {
		return &huma.Response{Description: doc, Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	}
	operator := httpx.Security(httpx.RoleOperator)
	of("get-health", "/healthz", "Whether the process lives", httpx.Security(), api.Answer(reflect.TypeFor[map[string]string](), "It does."))
	of("get-readiness", "/readyz", "Whether requests may be sent here, to ?role=NAME or any; 503 with the same members if not", httpx.Security(), api.Answer(reflect.TypeFor[state](), "They may."))
	of("get-metrics", "/metrics", "Metrics in Prometheus' format", operator, text("The metrics."))
	of("get-profiles", "/debug/pprof/", "Go's profiles", operator, text("The names of the profiles."))
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone if this fails
}
