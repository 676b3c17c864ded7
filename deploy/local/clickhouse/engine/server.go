package engine

import (
	"compress/gzip"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
)

// server answers as the HTTP interface of a ClickHouse server does.
type server struct {
	host     *host
	user     string // empty: anyone may ask
	password string
	version  string
	timezone string
	name     string
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", ok)
	mux.HandleFunc("GET /replicas_status", ok)
	mux.HandleFunc("/{$}", s.serveQuery)
	return mux
}

func ok(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "Ok.\n")
}

func (s *server) serveQuery(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && !r.URL.Query().Has("query") {
		ok(w, r)
		return
	}
	start := time.Now()
	s.writeHeader(w.Header(), r)
	if !s.admits(r) {
		s.refuse(w, newException(authenticationFailed, "Authentication failed: password is incorrect, or there is no user with such name"))
		return
	}
	req, e := parseRequest(w, r)
	if e != nil {
		s.refuse(w, e)
		return
	}
	res, err := s.host.do(r.Context(), req.query)
	if errors.As(err, &e) {
		s.refuse(w, e)
		return
	}
	if err != nil {
		panic(http.ErrAbortHandler) // a dead server does not answer
	}
	s.answer(w, req, res, time.Since(start))
}

// admits tells whether the credentials are those of the configured user.
func (s *server) admits(r *http.Request) bool {
	if s.user == "" {
		return true
	}
	values := r.URL.Query()
	user, password, basic := r.BasicAuth()
	if !basic {
		user = firstOf(r.Header.Get("X-ClickHouse-User"), values.Get("user"), "default")
		password = firstOf(r.Header.Get("X-ClickHouse-Key"), values.Get("password"))
	}
	return subtle.ConstantTimeCompare([]byte(user), []byte(s.user)) == 1 && subtle.ConstantTimeCompare([]byte(password), []byte(s.password)) == 1
}

func (s *server) writeHeader(header http.Header, r *http.Request) {
	header.Set("X-ClickHouse-Server-Display-Name", s.name)
	header.Set("X-ClickHouse-Query-Id", firstOf(r.URL.Query().Get("query_id"), rand.Text()))
	header.Set("X-ClickHouse-Timezone", s.timezone)
}

func (s *server) refuse(w http.ResponseWriter, e *exception) {
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.Code))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(e.status())
	_, _ = io.WriteString(w, e.Text+" (version "+s.version+")\n")
}

// answer writes a whole result: an error comes before it, never within it.
func (s *server) answer(w http.ResponseWriter, req *request, res *result, elapsed time.Duration) {
	body, err := res.Body, error(nil)
	if req.Format == "Native" && !req.Insert {
		body, err = reencode(body, req.Revision)
	}
	if err == nil && req.Options.NativeCompressed {
		body, err = compressed(body, req.Native)
	}
	if err != nil {
		s.refuse(w, newException(notImplemented, "%v", err))
		return
	}
	header := w.Header()
	header.Set("X-ClickHouse-Summary", summary(res.statistics, elapsed))
	header.Set("X-ClickHouse-Format", req.Format)
	header.Set("Content-Type", contentType(req.Format))
	if req.Options.Gzip && len(body) > 0 {
		header.Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(body) // the client has gone
		_ = z.Close()
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// compressedBlock is how much data a compressed block holds at most.
const compressedBlock = 1 << 20

func compressed(body []byte, method compress.Method) ([]byte, error) {
	w := compress.NewWriter(compress.LevelZero, method)
	var out []byte
	for len(body) > 0 {
		n := min(len(body), compressedBlock)
		if err := w.Compress(body[:n]); err != nil {
			return nil, err
		}
		out, body = append(out, w.Data...), body[n:]
	}
	return out, nil
}

func summary(st statistics, elapsed time.Duration) string {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	text, err := json.Marshal(map[string]string{
		"read_rows": number(st.ReadRows), "read_bytes": number(st.ReadBytes),
		"written_rows": number(st.WrittenRows), "written_bytes": number(st.WrittenBytes),
		"elapsed_ns": number(uint64(elapsed)),
	})
	if err != nil {
		return "{}" // a map of strings always encodes
	}
	return string(text)
}

func contentType(format string) string {
	switch {
	case strings.HasSuffix(format, "EachRow"):
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(format, "CSV"):
		return "text/csv; charset=UTF-8; header=absent"
	case strings.HasPrefix(format, "TabSeparated"), strings.HasPrefix(format, "TSV"):
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(format, "Pretty"), format == "Vertical", format == "Values":
		return "text/plain; charset=UTF-8"
	default:
		return "application/octet-stream"
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
