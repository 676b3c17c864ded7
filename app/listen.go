package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

const listenText = "must be host:port with a port between 0 and 65535"

// listenable tells whether an address is host:port at all.
func listenable(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port) // asks nobody: ports are in a local table
	}
	return err == nil
}

// listener bounds open connections. Further ones wait to be accepted.
type listener struct {
	net.Listener
	places chan struct{} // one is in it for each open connection
}

// listen opens the port.
func listen(ctx context.Context, address string, connections int) (*listener, error) {
	var config net.ListenConfig
	opened, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return &listener{opened, make(chan struct{}, connections)}, nil
}

// Accept waits for a connection, and for a place for it.
func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.places <- struct{}{}
	return &connection{Conn: accepted, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// open is how many connections are open.
func (l *listener) open() int { return len(l.places) }

// crowded tells whether most places are taken. Each connection is then closed after its answer, so that idle connections keep nobody out.
func (l *listener) crowded() bool { return l.open() > cap(l.places)*3/4 }

// connection gives its place back when it is closed.
type connection struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *connection) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// refuseDemoKeys returns an error if the demo's keys would work on an address that is not loopback. The address is listenable.
func refuseDemoKeys(keys keysConfig, address string) error {
	if !keys.holdsDemoKey() {
		return nil
	}
	host, _, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return &UsageError{fmt.Errorf("listening on %s: the demo's keys are refused on an address that is not loopback; set `keys:` in a file and give it with --config", address)}
}
