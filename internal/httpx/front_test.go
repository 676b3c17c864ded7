package httpx

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// TestCORS: pages of configured origins may call the API, and other origins are told nothing.
func TestCORS(t *testing.T) {
	front := &Front{Timeout: time.Minute, Origins: map[string]bool{"https://shop.example": true}}
	ask := func(method, path, origin, asks string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Header.Set("Origin", origin)
		if asks != "" {
			r.Header.Set("Access-Control-Request-Method", asks)
		}
		w := httptest.NewRecorder()
		front.Serve(w, r, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
		return w
	}
	for _, c := range []struct {
		name, method, path, origin, asks string
		status                           int
		allowed                          string
	}{
		{"preflight", "OPTIONS", "/v1/recommendations", "https://shop.example", "POST", 204, "https://shop.example"},
		{"request", "GET", "/v1/lists/trending", "https://shop.example", "", 418, "https://shop.example"},
		{"preflight of another", "OPTIONS", "/v1/recommendations", "https://evil.example", "POST", 418, ""},
		{"request of another", "GET", "/v1/lists/trending", "https://evil.example", "", 418, ""},
		{"another port", "GET", "/v1/lists/trending", "https://shop.example:8443", "", 418, ""},
		{"no page", "GET", "/v1/lists/trending", "", "", 418, ""},
		{"a page of ours", "GET", "/settings/privacy", "https://shop.example", "", 418, ""},
	} {
		w := ask(c.method, c.path, c.origin, c.asks)
		h := w.Header()
		if w.Code != c.status || h.Get("Access-Control-Allow-Origin") != c.allowed || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", c.name, w.Code, h)
		}
		if preflight := c.status == http.StatusNoContent; preflight != (h.Get("Access-Control-Allow-Methods") != "") || preflight != strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("%s: %v", c.name, h)
		}
		if strings.HasPrefix(c.path, "/v1/") && h.Get("Vary") != "Origin" {
			t.Errorf("%s: a cache would give it to another origin: %v", c.name, h)
		}
	}
}

func TestValidOrigin(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://shop.example": true, "http://127.0.0.1:8080": true, "https://[::1]:8443": true, "https://shop.example:443": false, "https://shop.example/": false, "https://Shop.example": false,
		"shop.example": false, "*": false, "https://*.shop.example": false, "null": false, "": false, "https://a@shop.example": false, "ftp://shop.example": false, "https://shop.example:": false,
	} {
		if got := ValidOrigin(origin); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
}

// TestSlowBodies: a body that does not come is answered 408 on every route, whatever it makes of half a body, and the connection is closed.
func TestSlowBodies(t *testing.T) {
	front := &Front{Timeout: 50 * time.Millisecond}
	routes := http.NewServeMux()
	routes.HandleFunc("/reads", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.Header().Set("Content-Length", "3")
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = w.Write([]byte("own"))
	})
	routes.HandleFunc("/ignores", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	routes.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { WriteProblem(w, Overloaded()) })
	routes.HandleFunc("/says-nothing", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { front.Serve(w, r, routes.ServeHTTP) }))
	defer server.Close()
	for _, c := range []struct {
		name, path, head, body, status string
	}{
		{"half a body", "/reads", "Content-Length: 200", "{", "408 Request Timeout"},
		{"half a chunk", "/reads", "Transfer-Encoding: chunked", "5\r\nab", "408 Request Timeout"},
		{"a route that says nothing", "/says-nothing", "Content-Length: 200", "{", "408 Request Timeout"},
		{"a route that does not read", "/ignores", "Content-Length: 200", "{", "401 Unauthorized"},
		{"a busy route that does not read", "/busy", "Content-Length: 5000000", "{", "429 Too Many Requests"},
		{"an unknown route", "/nowhere", "Content-Length: 5000000", "{", "404 Not Found"},
		{"a whole body", "/reads", "Content-Length: 2\r\nConnection: close", "{}", "200 OK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "POST "+c.path+" HTTP/1.1\r\nHost: x\r\n"+c.head+"\r\n\r\n"+c.body); err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(conn) // ends when the server closes
			if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 "+c.status) {
				t.Errorf("%v: %s", err, all)
			}
			if slow := strings.HasPrefix(c.status, "408"); slow != strings.Contains(string(all), `"code":"slow_body"`) || slow == strings.Contains(string(all), "own") && slow {
				t.Errorf("%s", all)
			}
		})
	}
}

// TestRefusalsAreRead: a client that is refused before its body is read gets the answer, and its connection stays.
func TestRefusalsAreRead(t *testing.T) {
	front := &Front{Timeout: time.Minute}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		front.Serve(w, r, func(w http.ResponseWriter, _ *http.Request) { WriteProblem(w, Overloaded()) })
	}))
	defer server.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in, body := bufio.NewReader(conn), strings.Repeat("x", drained)
	for range 3 {
		if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" || answer.Close {
			t.Errorf("%d %v", answer.StatusCode, answer.Header)
		}
	}
}

// TestRoutesDoNotShortenABodysTime: a deadline that a route sets, as huma does for every operation, does not take the place of the front's.
func TestRoutesDoNotShortenABodysTime(t *testing.T) {
	front, set := &Front{Timeout: time.Minute}, make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		front.Serve(w, r, func(w http.ResponseWriter, r *http.Request) {
			if err := huma.SetReadDeadline(w, time.Unix(1, 0)); err != nil {
				t.Error(err)
			}
			close(set)
			if body, err := io.ReadAll(r.Body); err != nil || string(body) != "late" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}))
	defer server.Close()
	body, send := io.Pipe()
	go func() {
		<-set
		_, _ = io.WriteString(send, "late")
		_ = send.Close()
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Error(answer.Status)
	}
}

// TestDemoKeysWorkOnThisMachineAlone: a page elsewhere that gives its own name a loopback address reaches nothing.
func TestDemoKeysWorkOnThisMachineAlone(t *testing.T) {
	next := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	for host, want := range map[string]int{
		"localhost": 204, "LOCALHOST:8080": 204, "127.0.0.1:8080": 204, "127.9.9.9": 204, "[::1]:8080": 204, "[::1]": 204,
		"evil.example": 421, "evil.example:8080": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:80": 421, "192.0.2.1": 421, "": 421,
	} {
		for _, local := range []bool{true, false} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Host = host
			w := httptest.NewRecorder()
			(&Front{Local: local}).Serve(w, r, next)
			if expected := map[bool]int{true: want, false: 204}[local]; w.Code != expected {
				t.Errorf("%q, demo keys %t: %d, want %d", host, local, w.Code, expected)
			}
		}
	}
}

// TestNoWriteIsRedirected: the API answers a path that is not straight itself, so that no client repeats its request elsewhere.
func TestNoWriteIsRedirected(t *testing.T) {
	mux := http.NewServeMux()
	deleted := 0
	mux.HandleFunc("DELETE /v1/visitors/{id}/history", func(http.ResponseWriter, *http.Request) { deleted++ })
	mux.HandleFunc("DELETE /v1/visitors/{id}/history/{event}", func(http.ResponseWriter, *http.Request) {})
	for path, want := range map[string]int{
		"/v1/visitors/v/history": 200, "/v1/visitors/v/history/e": 200, "/v1/visitors/v/history/%2E": 200, "/v1/visitors/v/history/a%2F..": 200,
		"/v1/visitors/v/history/.": 404, "/v1/visitors/v/history/..": 404, "/v1/visitors/v/history/e/..": 404, "/v1//visitors/v/history": 404,
	} {
		w := httptest.NewRecorder()
		new(Front).Serve(w, httptest.NewRequestWithContext(t.Context(), http.MethodDelete, path, nil), mux.ServeHTTP)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if deleted != 1 {
		t.Errorf("%d histories were deleted", deleted)
	}
}
