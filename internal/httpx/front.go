package httpx

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"
)

// Front is what every request passes before its route: pages of other origins, bodies that do not come, headers that every answer has.
type Front struct {
	Timeout time.Duration   // for a body to come
	Origins map[string]bool // of pages that may call the API ("https://shop.example")
	Local   bool            // only requests for a name of this machine are answered: the keys are known to all
	Crowded func() bool     // whether connections run out, so that each is closed after its answer; nil: never
}

// What pages of an allowed origin may send and read beyond what every page may.
const (
	corsMethods = "GET, POST, PUT, DELETE"
	corsHeaders = "Authorization, Content-Type, Content-Encoding, Sluice-Revision, Sluice-User-Token"
	corsExposed = "Retry-After"
	corsMaxAge  = "7200" // seconds for which a browser need not ask again; no browser keeps it longer
)

// Serve answers a request by next, or itself: a page's preflight with 204, a body that does not come in time with 408.
func (f *Front) Serve(w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request)) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if f.Crowded != nil && f.Crowded() {
		w.Header().Set("Connection", "close")
	}
	if f.Local && !loopback(r.Host) {
		WriteProblem(w, NewProblem(http.StatusMisdirectedRequest, "misdirected", "With the demo's keys, Host must be localhost or a loopback address: a page elsewhere could give its own name this address."))
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") && !straight(r.URL.EscapedPath()) {
		WriteProblem(w, NewProblem(http.StatusNotFound, "not_found", "A path must have no segment that is empty, . or ..; /openapi.json lists what there is."))
		return
	}
	if f.cors(w, r) {
		return
	}
	if r.Body == nil || r.Body == http.NoBody {
		next(w, r)
		return
	}
	body := &timedBody{ReadCloser: r.Body, control: http.NewResponseController(w), grace: min(drainTime, f.Timeout), waits: r.Header.Get("Expect") != ""}
	_ = body.control.SetReadDeadline(time.Now().Add(f.Timeout)) // a writer that knows no deadlines is a test's
	r.Body = body
	answer := &timedAnswer{ResponseWriter: w, body: body}
	next(answer, r)
	if body.slow && !answer.begun {
		answer.WriteHeader(http.StatusRequestTimeout)
	}
}

// loopback tells whether a Host header names this machine, with any port.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// straight tells whether a path means what it says. The mux would redirect another one, and a client that follows would repeat a deletion of "history/." as one
// of the whole history.
func straight(p string) bool { return p == path.Clean(p) || p == path.Clean(p)+"/" }

// cors lets pages of a configured origin call the API, and answers their preflight. It tells other origins nothing.
func (f *Front) cors(w http.ResponseWriter, r *http.Request) (answered bool) {
	if len(f.Origins) == 0 || !strings.HasPrefix(r.URL.Path, "/v1/") {
		return false
	}
	h, origin := w.Header(), r.Header.Get("Origin")
	h.Add("Vary", "Origin")
	if !f.Origins[origin] {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", corsExposed)
		return false
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// OriginText says what an origin must be.
const OriginText = "must be an origin: http or https, ://, a host in lower case, and its port unless it is the usual one, such as https://shop.example"

// ValidOrigin tells whether a text is an origin as browsers send it.
func ValidOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || text != strings.ToLower(text) || strings.Contains(u.Host, "*") {
		return false
	}
	return text == u.Scheme+"://"+u.Host && (u.Port() == "" || u.Port() != map[string]string{"http": "80", "https": "443"}[u.Scheme]) && !strings.HasSuffix(u.Host, ":")
}

// timedBody is a request's body that must have come by the connection's deadline.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	grace   time.Duration // that drain may take
	waits   bool          // the client sends it once it is asked to
	ended   bool          // nothing more comes
	slow    bool          // the deadline passed
}

// What is read of a body for its client's sake.
const (
	drained   = 5 << 20 // bytes, as much as a route may read
	drainTime = 2 * time.Second
)

// Read notes a deadline that passed, and lifts it once the body is there: what the request does then has its own time.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err != nil
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.slow = true
	default:
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// drain reads what a refusal has left of the body. Its client may still be writing, and reads the answer only then: net/http would read 256 KiB and reset the
// connection, and a reset does not tell when to come again.
func (b *timedBody) drain() {
	if b.ended || b.waits {
		return
	}
	_ = b.control.SetReadDeadline(time.Now().Add(b.grace)) // a writer that knows no deadlines is a test's
	_, _ = io.CopyN(io.Discard, b, drained)
	b.slow = false // the refusal stands
}

// timedAnswer is the answer to a request with a body. If the body did not come in time, it answers 408, whatever the route makes of half a body, and closes the
// connection: net/http would wait for the rest before it writes.
type timedAnswer struct {
	http.ResponseWriter
	body  *timedBody
	begun bool
	own   bool // the route's answer is dropped
}

// WriteHeader begins the answer.
func (a *timedAnswer) WriteHeader(status int) {
	if a.begun || !a.body.slow {
		if !a.begun && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
			a.body.drain()
		}
		a.begun = a.begun || status >= http.StatusOK
		if !a.own {
			a.ResponseWriter.WriteHeader(status)
		}
		return
	}
	a.begun, a.own = true, true
	h := a.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Retry-After"} {
		h.Del(name)
	}
	h.Set("Connection", "close")
	WriteProblem(a.ResponseWriter, NewProblem(http.StatusRequestTimeout, "slow_body", "The body must come within the time that collector.timeout gives it."))
}

// Write writes the route's answer.
func (a *timedAnswer) Write(data []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	if a.own {
		return len(data), nil
	}
	return a.ResponseWriter.Write(data)
}

// SetReadDeadline does nothing. The front has given the body its time; huma would give it five seconds of its own.
func (a *timedAnswer) SetReadDeadline(time.Time) error { return nil }

// Unwrap lets http.ResponseController reach the connection.
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
