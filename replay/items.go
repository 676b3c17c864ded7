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

// sendItems posts a catalogue file: JSON lines as POST /v1/items takes them, or a CSV whose header names the fields.
// A refused item ends the run before any event is sent: rows without their item would be worth little.
func sendItems(ctx context.Context, c *client, name string, notef func(string, ...any)) error {
	file, err := openFile(name, new(atomic.Int64))
	if err != nil {
		return err
	}
	defer file.Close()
	post := &itemPost{client: c, name: name}
	if file.growing {
		err = post.lines(ctx, file.Reader.(*linesReader)) //nolint:forcetypeassert // only JSON lines grow
	} else {
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

// lines sends every line as it is.
func (p *itemPost) lines(ctx context.Context, r *linesReader) error {
	for n := 1; ; n++ {
		line, tooLong, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if tooLong {
			err = fileError(p.name, fmt.Sprintf("line %d: must be of at most 1 MiB", n))
		}
		if err != nil {
			return err
		}
		if line = bytes.TrimSpace(bytes.TrimPrefix(line, byteOrderMark)); len(line) == 0 {
			continue
		}
		if err := p.add(ctx, n, line); err != nil {
			return err
		}
	}
}

// itemColumns are the catalogue's fields that a table may have; attributes.x makes an attribute.
var itemColumns = []string{
	"item_id", "title", "categories", "brand", "seller", "price", "currency", "availability", "url", "image_url", "available_from",
}

func (p *itemPost) table(ctx context.Context, r Reader) error {
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
	for n := 2; ; n++ { // the header is line 1
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fileError(p.name, fmt.Sprintf("row %d: %v", n-1, err))
		}
		if err := p.add(ctx, n, appendItem(nil, r.Columns(), keys, cells)); err != nil {
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
