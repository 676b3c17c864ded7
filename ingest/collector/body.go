package collector

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"sluice/ingest"
	"sluice/internal/httpx"
)

const (
	maxBody   = 5 << 20 // bytes, before and after decompression
	maxEvents = 10_000  // a request
	readStep  = 32 << 10
)

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeText   = "text/plain" // what sendBeacon sends
)

var (
	errBusy     = errors.New("too much in flight")
	errTooLarge = errors.New("body too large")
)

// budget is the memory that bodies may take together.
type budget struct {
	left atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *budget) give(n int64) { b.left.Add(n) }

// body is a request's body, decompressed. Give it back with free; nothing may point into it then.
type body struct {
	data     []byte
	lines    bool // declared as NDJSON
	reserved int64
	from     *budget
	decoder  ingest.Decoder // of its events
	entries  []entry
}

var (
	buffers = sync.Pool{New: func() any { return new(body) }}
	gzips   = sync.Pool{New: func() any { return new(gzip.Reader) }}
	zstds   = sync.Pool{New: func() any {
		r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			panic("collector: zstd options: " + err.Error()) // cannot fail
		}
		return r
	}}
)

func (b *body) free() {
	b.from.give(b.reserved)
	b.data, b.lines, b.reserved, b.from = b.data[:0], false, 0, nil
	b.decoder.Reset()
	clear(b.entries)
	buffers.Put(b)
}

// read reads the request's body within the limits and the budget; httpx.Front gives it its time. It does not outlive the request.
func (c *Collector) read(w http.ResponseWriter, r *http.Request, types ...string) (*body, *httpx.Problem) {
	kind, problem := contentType(r, types)
	if problem != nil {
		return nil, problem
	}
	b := buffers.Get().(*body) //nolint:forcetypeassert // the pool's New makes nothing else
	b.from, b.lines = &c.budget, kind == typeNDJSON
	if err := b.decompress(http.MaxBytesReader(w, r.Body, maxBody), r.Header.Get("Content-Encoding")); err != nil {
		b.free()
		return nil, bodyProblem(err)
	}
	c.bytes.Add(float64(len(b.data)))
	return b, nil
}

// contentType is the request's type, one of types. A request without one is JSON: its body will tell.
func contentType(r *http.Request, types []string) (string, *httpx.Problem) {
	unsupported := func(detail string) (string, *httpx.Problem) {
		return "", httpx.NewProblem(http.StatusUnsupportedMediaType, "unsupported_media_type", detail)
	}
	header := r.Header.Get("Content-Type")
	switch {
	case header == "":
		return types[0], nil
	case slices.Contains(types, header): // as clients mostly write it
		return header, nil
	}
	kind, parameters, err := mime.ParseMediaType(header)
	if charset := parameters["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return unsupported("The charset must be UTF-8.")
	}
	for _, t := range types {
		if kind == t {
			return kind, nil
		}
	}
	return unsupported("Content-Type must be one of " + strings.Join(types, ", ") + ".")
}

var errEncoding = errors.New("unknown content encoding")

// decompress fills the body from src.
func (b *body) decompress(src io.Reader, encoding string) error {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return b.fill(src)
	case "gzip":
		z := gzips.Get().(*gzip.Reader) //nolint:forcetypeassert // the pool's New makes nothing else
		defer gzips.Put(z)
		if err := z.Reset(src); err != nil {
			return err
		}
		return b.fill(z)
	case "zstd":
		z := zstds.Get().(*zstd.Decoder) //nolint:forcetypeassert // the pool's New makes nothing else
		defer zstds.Put(z)
		if err := z.Reset(src); err != nil {
			return err
		}
		err := b.fill(z)
		_ = z.Reset(nil) // lets go of src; fails only on a closed decoder
		return err
	}
	return errEncoding
}

// fill reads all of src, step by step as far as the budget reaches.
func (b *body) fill(src io.Reader) error {
	for {
		if !b.from.take(readStep) {
			return errBusy
		}
		b.reserved += readStep
		for room := len(b.data) + readStep; len(b.data) < room; {
			if len(b.data) == cap(b.data) {
				b.data = slices.Grow(b.data, readStep)
			}
			n, err := src.Read(b.data[len(b.data):min(cap(b.data), room)])
			b.data = b.data[:len(b.data)+n]
			if len(b.data) > maxBody {
				return errTooLarge
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

func bodyProblem(err error) *httpx.Problem {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, errTooLarge), errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return httpx.NewProblem(http.StatusRequestEntityTooLarge, "too_large", "The body must be at most 5 MiB, also when it is decompressed.")
	case errors.Is(err, errBusy):
		return httpx.NewProblem(http.StatusTooManyRequests, "busy", "Too much is in flight. Try again in a moment.")
	case errors.Is(err, errEncoding):
		return httpx.NewProblem(http.StatusUnsupportedMediaType, "unsupported_encoding", "Content-Encoding must be gzip, zstd or absent.")
	}
	return httpx.NewProblem(http.StatusBadRequest, "unreadable_body", "The body cannot be read, or not be decompressed.")
}

func emptyBody() *httpx.Problem {
	return httpx.NewProblem(http.StatusBadRequest, "empty_body", "The body must have at least one entry.")
}

// trim cuts JSON's white space off.
func trim(data []byte) []byte { return bytes.Trim(data, " \t\r\n") }

// bom is what some programs put before UTF-8.
var bom = []byte("\ufeff")

// text is the body without what stands around it.
func (b *body) text() []byte { return trim(bytes.TrimPrefix(b.data, bom)) }
