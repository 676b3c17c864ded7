// Package engine runs a real ClickHouse engine on loopback, for tests and for a first look: the engine is a shared library from a package registry,
// hosted by a small Python process and served over ClickHouse's HTTP interface, such that github.com/ClickHouse/clickhouse-go/v2 in HTTP mode
// takes it for a server. It is neither fast nor hardened: bodies and results are held in memory.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options of an engine.
type Options struct {
	Data     string // data directory, made if missing; one engine at a time
	Listen   string // loopback address, host:port; empty: 127.0.0.1 and a free port
	User     string // the only user; empty: anyone may ask
	Password string // of User
	Lines    int    // queries that run at once, further ones wait; 0: 8
}

// Engine is a running engine.
type Engine struct {
	host    *host
	http    *http.Server
	address string
	version string
	served  chan struct{}
}

const (
	defaultListen = "127.0.0.1:0"
	defaultLines  = 8
)

// Start fetches the engine if the user's cache has none, starts it and waits until it answers. The context bounds the start, not the engine's life:
// it ends with Stop, with Kill, or with this process. The error wraps ErrNoClient where the engine cannot be had.
func Start(ctx context.Context, o Options) (*Engine, error) {
	if o.Listen == "" {
		o.Listen = defaultListen
	}
	if o.Lines == 0 {
		o.Lines = defaultLines
	}
	if o.Data == "" || o.Lines < 0 {
		return nil, errors.New("engine: needs a data directory and a positive number of lines")
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("making the engine's data directory: %w", err)
	}
	library, err := Fetch(ctx)
	if err != nil {
		return nil, err
	}
	listener, err := listen(ctx, o.Listen)
	if err != nil {
		return nil, err
	}
	h, err := startHost(library, data, o.Lines)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	s := &server{host: h, user: o.User, password: o.Password, name: hostname()}
	if s.version, s.timezone, err = h.ready(ctx); err != nil {
		h.kill()
		_ = listener.Close()
		return nil, err
	}
	return serve(s, listener), nil
}

// listen refuses anything but loopback: the engine is not made for strangers.
func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = listener.Close()
		return nil, fmt.Errorf("listening on %s: must be a loopback address", address)
	}
	return listener, nil
}

// ready waits until the engine answers, and returns its version and its time zone.
func (h *host) ready(ctx context.Context) (version, timezone string, err error) {
	stop := context.AfterFunc(ctx, h.kill)
	defer stop()
	res, err := h.do(ctx, query{Format: "TabSeparated", SQL: []byte("SELECT version(), timezone()")})
	if err == nil {
		version, timezone, _ = strings.Cut(strings.TrimSpace(string(res.Body)), "\t")
		return version, timezone, nil
	}
	if ctx.Err() != nil {
		return "", "", ctx.Err()
	}
	if !errors.As(err, new(*exception)) {
		<-h.ended // so that stderr is complete
	}
	return "", "", fmt.Errorf("starting the engine: %w\n%s", err, h.stderr.text())
}

func serve(s *server, listener net.Listener) *Engine {
	e := &Engine{
		host:    s.host,
		http:    &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second},
		address: listener.Addr().String(),
		version: s.version,
		served:  make(chan struct{}),
	}
	go func() {
		defer close(e.served)
		_ = e.http.Serve(listener) // it ends when it is closed
	}()
	return e
}

// Address is where the engine listens, host:port, as the driver wants it.
func (e *Engine) Address() string { return e.address }

// URL is where the engine listens.
func (e *Engine) URL() string { return "http://" + e.address }

// Version is the engine's version, like 26.9.2.1.
func (e *Engine) Version() string { return e.version }

// Done is closed when the engine's process has ended.
func (e *Engine) Done() <-chan struct{} { return e.host.ended }

// Stop lets running requests finish, closes the engine and waits until it has ended.
func (e *Engine) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := e.http.Shutdown(ctx)
	<-e.served
	return errors.Join(err, e.host.stop())
}

// Kill kills the engine's process as a crash of the server would, cuts all connections, and waits until it is dead: Start may follow at once.
func (e *Engine) Kill() {
	e.host.kill()
	_ = e.http.Close() // the listener may be closed already
	<-e.served
}
