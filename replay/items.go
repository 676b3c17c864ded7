package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// itemsSent is what POST /v1/items says.
type itemsSent struct {
	Accepted int64 `json:"accepted"`
	Rejected int64 `json:"rejected"`
	Errors   []struct {
		Index   int    `json:"index"`
		Code    string `json:"code"`
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

// sendItems posts a catalogue file: JSON lines as POST /v1/items takes them, or a CSV with the fields' names as its header.
// A refused item ends the run before any event is sent: rows without their item would be worth little.
func sendItems(ctx context.Context, c *client, name string, notef func(string, ...any)) error {
	file, err := openFile(name, layout{}, new(atomic.Int64))
	if err != nil {
		return err
	}
	defer file.Close()
	post := &itemPost{client: c, name: name}
	switch r := file.Reader.(type) {
	case *linesReader:
		err = post.values(ctx, r.next, r.Line)
	case *valuesReader:
		err = post.values(ctx, r.next, r.Line)
	default:
		err = post.table(ctx, file)
	}
	if err == nil {
		err = post.flush(ctx)
	}
	if err == nil {
		notef("sent %d items", post.sent)
	}
	return err
}

// itemPost gathers items into requests.
type itemPost struct {
	client *client
	name   string
	body   []byte
	lineOf []int // of each item in body: its line or row in the file
	sent   int64
}

func (p *itemPost) add(ctx context.Context, line int, item []byte) error {
	p.body = append(append(p.body, item...), '\n')
	p.lineOf = append(p.lineOf, line)
	if len(p.lineOf) >= maxRows || len(p.body) >= maxBytes {
		return p.flush(ctx)
	}
	return nil
}

func (p *itemPost) flush(ctx context.Context) error {
	if len(p.lineOf) == 0 {
		return nil
	}
	var a itemsSent
	err := p.client.post(ctx, "/v1/items", p.body, &a)
	var final *StatusError
	if errors.As(err, &final) && final.Status == http.StatusUnprocessableEntity && json.Unmarshal(final.body, &a) == nil && len(a.Errors) > 0 {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("sending items: %w", err)
	}
	if len(a.Errors) > 0 {
		e := a.Errors[0]
		at := ""
		if e.Index >= 0 && e.Index < len(p.lineOf) {
			at = fmt.Sprintf("line %d: ", p.lineOf[e.Index])
		}
		return fileError(p.name, fmt.Sprintf("%s%s %s (%s); %d items refused, no event sent", at, e.Pointer, e.Detail, e.Code, max(a.Rejected, 1)))
	}
	p.sent += int64(len(p.lineOf))
	p.body, p.lineOf = p.body[:0], p.lineOf[:0]
	return nil
}

// values sends every value, each in a line of its own.
func (p *itemPost) values(ctx context.Context, next func() ([]byte, error), line func() int64) error {
	for {
		text, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		value := jsontext.Value(bytes.Clone(text))
		switch {
		case err != nil:
		case !utf8.Valid(value):
			err = errors.New(notText("", string(value)))
		case value.Compact() != nil:
			err = errors.New("must be one JSON object")
		}
		if err != nil {
			return p.fault("line", line(), err)
		}
		if err := p.add(ctx, int(line()), value); err != nil {
			return err
		}
	}
}

func (p *itemPost) fault(unit string, at int64, err error) error {
	return fileError(p.name, fmt.Sprintf("%s %d: %v; no event sent", unit, at, err))
}

// itemColumns are the catalogue's fields that a table may have; attributes.x makes an attribute.
var itemColumns = []string{
	"item_id", "title", "categories", "brand", "seller", "price", "currency", "availability", "url", "image_url", "available_from",
}

func (p *itemPost) table(ctx context.Context, r *source) error {
	keys := make([]string, len(r.Columns()))
	for i, c := range r.Columns() {
		if attribute, ok := strings.CutPrefix(c, "attributes."); ok {
			keys[i] = attribute
			continue
		}
		if !slices.Contains(itemColumns, c) {
			return fileError(p.name, fmt.Sprintf("column %q: must be one of %s or attributes.…", c, strings.Join(itemColumns, ", ")))
		}
	}
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		for i, cell := range cells {
			if !isText(r.encoding, cell) {
				err = fmt.Errorf("column %s: %s", r.Columns()[i], notText(r.encoding, cell))
			}
		}
		if err != nil {
			return p.fault(r.unit(), r.at(), err)
		}
		if err := p.add(ctx, int(r.at()), appendItem(nil, r.Columns(), keys, cells)); err != nil {
			return err
		}
	}
}

// appendItem writes a catalogue item. Categories are paths separated by "|", their levels by ">": "Home > Lamps | Sale".
func appendItem(dst []byte, columns, attributes, cells []string) []byte {
	dst = append(dst, '{')
	for i, cell := range cells {
		if cell == "" || attributes[i] != "" {
			continue
		}
		dst = appendName(dst, columns[i])
		if columns[i] == "categories" {
			dst = appendCategories(dst, cell)
		} else {
			dst = appendAnyText(dst, cell)
		}
	}
	opened := false
	for i, cell := range cells {
		if cell == "" || attributes[i] == "" {
			continue
		}
		if !opened {
			dst, opened = append(appendName(dst, "attributes"), '{'), true
		}
		dst = appendAnyText(appendName(dst, attributes[i]), cell)
	}
	if opened {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// appendName starts a member, after a comma where one is needed.
func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(appendAnyText(dst, name), ':')
}

func appendCategories(dst []byte, cell string) []byte {
	dst = append(dst, '[')
	for path := range strings.SplitSeq(cell, "|") {
		if dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		for level := range strings.SplitSeq(path, ">") {
			if dst[len(dst)-1] != '[' {
				dst = append(dst, ',')
			}
			dst = appendAnyText(dst, strings.TrimSpace(level))
		}
		dst = append(dst, ']')
	}
	return append(dst, ']')
}
