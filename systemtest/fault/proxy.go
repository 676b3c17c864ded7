package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy is a TCP proxy on loopback in front of one address. It can cut what passes through it, refuse more of it, stall it, and slow it down.
// It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	target  string
	refuses bool
	delay   time.Duration
	stalled chan struct{} // closed when bytes may pass; nil: they pass
	conns   map[net.Conn]struct{}
	closed  bool
}

// NewProxy listens on the address, "127.0.0.1:0" for any free port. Until SetTarget has named a target, connections are closed at once.
func NewProxy(listen string) (*Proxy, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listening for a proxy: %w", err)
	}
	p := &Proxy{listener: listener, conns: make(map[net.Conn]struct{})}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where it listens, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetTarget names the address, host:port, that new connections go to.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Cut resets all connections, now. New ones are welcome.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

// Refuse resets all connections and every new one, until it is called with false.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	p.refuses = on
	p.mu.Unlock()
	if on {
		p.Cut()
	}
}

// Stall lets no byte pass in either direction, as a network that loses every packet, until it is called with false: then the bytes that wait go on.
// New connections are accepted, as the kernel of a hanging machine does, and hear nothing.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.stalled == nil:
		p.stalled = make(chan struct{})
	case !on && p.stalled != nil:
		close(p.stalled)
		p.stalled = nil
	}
}

// Delay lets every byte that comes from now on arrive d later.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Heal undoes Refuse, Stall and Delay.
func (p *Proxy) Heal() {
	p.Refuse(false)
	p.Stall(false)
	p.Delay(0)
}

// Connections is the number of clients that are connected through it.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// Close stops listening, cuts everything, and returns when nothing of it runs any more.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.Heal()
	p.Cut()
	p.running.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.running.Go(func() { p.serve(c) })
		}
	}
}

// serve connects a client with the target until one of them ends.
func (p *Proxy) serve(client net.Conn) {
	target, ok := p.admit(client)
	if !ok {
		reset(client)
		return
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", target)
	if err != nil || !p.add(client, server) {
		reset(client)
		if err == nil {
			reset(server)
		}
		return
	}
	defer p.remove(client, server)
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client) })
	both.Go(func() { p.pass(client, server) })
	both.Wait()
}

// admit tells where a new connection goes; a stalled proxy makes it wait.
func (p *Proxy) admit(client net.Conn) (target string, ok bool) {
	if !p.add(client) {
		return "", false
	}
	defer p.remove(client)
	p.wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target, p.target != "" && !p.refuses
}

// add notes open connections; it tells whether they may be.
func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuses {
		return false
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// wait returns when bytes may pass.
func (p *Proxy) wait() {
	for {
		p.mu.Lock()
		stalled := p.stalled
		p.mu.Unlock()
		if stalled == nil {
			return
		}
		<-stalled
	}
}

// chunk is some bytes and when they are due at the other side.
type chunk struct {
	data []byte
	due  time.Time
}

const (
	chunkSize      = 32 << 10
	chunksOnTheWay = 64 // of one direction; more wait in the kernel
)

// pass copies from one connection to the other until either ends, then ends the other.
func (p *Proxy) pass(to, from net.Conn) {
	chunks := make(chan chunk, chunksOnTheWay)
	var writing sync.WaitGroup
	writing.Go(func() {
		defer func() { _ = to.Close() }() // cut already, perhaps
		for c := range chunks {
			time.Sleep(time.Until(c.due))
			p.wait()
			if _, err := to.Write(c.data); err != nil {
				_ = from.Close() // ends the reading below
			}
		}
	})
	buf := make([]byte, chunkSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			chunks <- chunk{bytes.Clone(buf[:n]), p.due()}
		}
		if err != nil {
			break
		}
	}
	close(chunks)
	writing.Wait()
}

func (p *Proxy) due() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.delay == 0 {
		return time.Time{}
	}
	return time.Now().Add(p.delay)
}

// reset closes a connection so that its peer gets an error, not an end of file.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // closed already
	}
	_ = c.Close() // as above
}
