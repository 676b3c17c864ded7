package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Request is a whole HTTP/1.1 request, ready to be written.
type Request []byte

// NewRequest makes a request with a JSON body, or NDJSON where the path takes lines. Whoever changes its body in place must keep the length.
func NewRequest(method, path, key string, body []byte) Request {
	kind := "application/json"
	if path == "/v1/events" || path == "/v1/imports" || path == "/v1/items" {
		kind = "application/x-ndjson"
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", method, path, key, kind, len(body))
	return append([]byte(head), body...)
}

// Body is the body of the request.
func (r Request) Body() []byte {
	_, body, _ := bytes.Cut(r, []byte("\r\n\r\n"))
	return body
}

// answer is what came back. Its body is valid until the connection's next request.
type answer struct {
	status int
	body   []byte
}

// conn is one connection that is kept open. It makes no garbage while it lasts: the generator shares the cores of the server that it measures.
type conn struct {
	addr string
	net  net.Conn
	in   *bufio.Reader
	body []byte
}

// answerTime bounds how long an answer may take.
const answerTime = time.Minute

// do writes a request and reads its answer. After an error the connection is made anew by the next request.
func (c *conn) do(ctx context.Context, r Request) (a answer, err error) {
	if c.net == nil {
		if c.net, err = new(net.Dialer).DialContext(ctx, "tcp", c.addr); err != nil {
			c.net = nil
			return a, err
		}
		if c.in == nil {
			c.in = bufio.NewReaderSize(nil, 64<<10)
		}
		c.in.Reset(c.net)
	}
	if err = c.net.SetDeadline(time.Now().Add(answerTime)); err == nil {
		if _, err = c.net.Write(r); err == nil {
			a, err = c.read()
		}
	}
	if err != nil {
		c.close()
	}
	return a, err
}

func (c *conn) close() {
	if c.net != nil {
		_ = c.net.Close() // nothing is left to be written
		c.net = nil
	}
}

var errHTTP = errors.New("this is no HTTP/1.1 answer")

// read reads the status, the headers that tell how long the body is, and the body.
func (c *conn) read() (a answer, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return a, errHTTP
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, errHTTP
	}
	length, chunked := 0, false
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return a, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return a, errHTTP
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	if chunked {
		return a, c.readChunks(&a)
	}
	a.body, err = c.take(c.body[:0], length)
	return a, err
}

// readChunks reads a body that comes in chunks.
func (c *conn) readChunks(a *answer) error {
	a.body = c.body[:0]
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(bytes.TrimRight(line, "\r\n")), 16, 32)
		if err != nil {
			return errHTTP
		}
		if a.body, err = c.take(a.body, int(n)); err != nil {
			return err
		}
		if _, err := c.in.Discard(len("\r\n")); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// take appends n bytes of the connection to body. The connection keeps the memory of body.
func (c *conn) take(body []byte, n int) ([]byte, error) {
	from := len(body)
	for cap(body) < from+n {
		body = append(body[:cap(body)], 0)
	}
	body = body[:from+n]
	c.body = body[:0]
	_, err := io.ReadFull(c.in, body[from:])
	return body, err
}
