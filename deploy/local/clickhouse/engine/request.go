package engine

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/klauspost/compress/zstd"
)

// maxBody bounds a request's body, as sent and as decompressed: it is held in memory, and so is a result.
const maxBody = 1 << 30

// request is a query with how its answer is to be written.
type request struct {
	query
	Revision int             // of Native blocks
	Native   compress.Method // of blocks, with NativeCompressed
	Options  struct{ NativeCompressed, Gzip bool }
}

// parseRequest reads a request of ClickHouse's HTTP interface.
func parseRequest(w http.ResponseWriter, r *http.Request) (*request, *exception) {
	values := r.URL.Query()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return nil, newException(notImplemented, "External tables are not supported by the local engine")
	}
	body, e := readBody(w, r, values)
	if e != nil {
		return nil, e
	}
	if text := values.Get("query"); text != "" {
		body = append([]byte(text+"\n"), body...) // a server reads the two as one stream
	}
	st, e := parseStatement(body)
	if e != nil {
		return nil, e
	}
	req := &request{query: query{Format: st.Format, Insert: st.Insert, SQL: st.SQL, Data: st.Data}}
	if req.Format == "" {
		req.Format = firstOf(values.Get("default_format"), r.Header.Get("X-ClickHouse-Format"), "TabSeparated")
	}
	if e := req.readParams(values); e != nil {
		return nil, e
	}
	if e := req.readOptions(r, values); e != nil {
		return nil, e
	}
	return req, req.readSetup(r, values)
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// readBody reads the body and takes off what it is wrapped in: an HTTP encoding, then ClickHouse's own compression.
func readBody(w http.ResponseWriter, r *http.Request, values url.Values) ([]byte, *exception) {
	body, err := decoded(http.MaxBytesReader(w, r.Body, maxBody), r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, newException(cannotDecompress, "Content-Encoding: %v", err)
	}
	if values.Get("decompress") == "1" {
		body = blocks{compress.NewReader(body)}
	}
	data, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	if len(data) > maxBody || errors.As(err, new(*http.MaxBytesError)) {
		return nil, newException(queryTooLarge, "The local engine takes bodies of at most %d bytes", maxBody)
	}
	if err != nil {
		return nil, newException(cannotDecompress, "Reading the body: %v", err)
	}
	return data, nil
}

func decoded(body io.Reader, encoding string) (io.Reader, error) {
	switch encoding {
	case "", "identity":
		return body, nil
	case "gzip":
		return gzip.NewReader(body)
	case "deflate":
		return zlib.NewReader(body)
	case "zstd":
		return zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
	default:
		return nil, fmt.Errorf("must be gzip, deflate or zstd")
	}
}

// blocks reads compressed blocks up to the end, which the reader of blocks reports in a wrapping.
type blocks struct{ reader io.Reader }

// Read implements io.Reader.
func (b blocks) Read(p []byte) (int, error) {
	n, err := b.reader.Read(p)
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, err
}

// readParams reads the values for server-side binding.
func (req *request) readParams(values url.Values) *exception {
	req.Params = map[string]string{}
	for name := range values {
		parameter, ok := strings.CutPrefix(name, "param_")
		if !ok {
			continue
		}
		if req.Insert {
			return newException(notImplemented, "Query parameters of an INSERT with data are not supported by the local engine")
		}
		if !utf8.ValidString(values.Get(name)) {
			return newException(badArguments, "The local engine takes query parameters in UTF-8 only")
		}
		req.Params[parameter] = values.Get(name)
	}
	return nil
}

// readOptions reads how the answer is to be written.
func (req *request) readOptions(r *http.Request, values url.Values) *exception {
	if revision := values.Get("client_protocol_version"); revision != "" {
		var err error
		if req.Revision, err = strconv.Atoi(revision); err != nil || req.Revision < 0 {
			return newException(badArguments, "client_protocol_version: must be a number")
		}
	}
	req.Options.NativeCompressed = values.Get("compress") == "1"
	req.Native = compress.LZ4
	if strings.EqualFold(values.Get("network_compression_method"), "zstd") {
		req.Native = compress.ZSTD
	}
	req.Options.Gzip = values.Get("enable_http_compression") == "1" && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	return nil
}

// unset are the parameters of a request that are not settings of the engine.
var unset = []string{
	"query", "database", "user", "password", "quota_key", "query_id", "default_format", "client_protocol_version", "compress", "decompress",
	"session_id", "session_timeout", "session_check", "close_session", "buffer_size", "wait_end_of_query", "stacktrace", "role",
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// readSetup makes the statements that choose the database and the settings.
func (req *request) readSetup(r *http.Request, values url.Values) *exception {
	// The library reads a lone expression as a SELECT; a server does not.
	settings := []string{"implicit_select = 0"}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if slices.Contains(unset, name) || strings.HasPrefix(name, "param_") {
			continue
		}
		if !settingName.MatchString(name) {
			return newException(unknownSetting, "Unknown setting '%s'", name)
		}
		if !utf8.ValidString(values.Get(name)) {
			return newException(badArguments, "The local engine takes settings in UTF-8 only")
		}
		settings = append(settings, name+" = "+quote(values.Get(name), '\''))
	}
	if r.Method != http.MethodPost && values.Get("readonly") == "" {
		settings = append(settings, "readonly = 2")
	}
	if database := firstOf(values.Get("database"), r.Header.Get("X-ClickHouse-Database")); database != "" {
		req.Setup = append(req.Setup, "USE "+quote(database, '`'))
	}
	req.Setup = append(req.Setup, "SET "+strings.Join(settings, ", "))
	return nil
}

// quote makes a literal, or a quoted name.
func quote(text string, with byte) string {
	var out bytes.Buffer
	out.WriteByte(with)
	for i := range len(text) {
		if text[i] == with || text[i] == '\\' {
			out.WriteByte('\\')
		}
		out.WriteByte(text[i])
	}
	out.WriteByte(with)
	return out.String()
}
