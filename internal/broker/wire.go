package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// exchange accepts connections for the broker: over TCP from other processes, and in memory from this one, which spares both sides the system calls.
type exchange struct {
	net.Listener // TCP

	accepted chan net.Conn
	closing  sync.Once
	closed   chan struct{}
}

// listen opens the TCP port as well: other processes and tools come that way.
func listen(network, address string) (*exchange, error) {
	tcp, err := new(net.ListenConfig).Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	x := &exchange{Listener: tcp, accepted: make(chan net.Conn), closed: make(chan struct{})}
	go x.forward()
	return x, nil
}

// forward hands on what comes over TCP, until the listener is closed.
func (x *exchange) forward() {
	for {
		conn, err := x.Listener.Accept()
		if err != nil {
			return
		}
		if x.offer(context.Background(), conn) != nil {
			_ = conn.Close() // nobody has heard of it
		}
	}
}

// Accept waits for a connection of either kind.
func (x *exchange) Accept() (net.Conn, error) {
	select {
	case conn := <-x.accepted:
		return conn, nil
	case <-x.closed:
		return nil, net.ErrClosed
	}
}

// Close ends accepting. Connections stay.
func (x *exchange) Close() (err error) {
	x.closing.Do(func() {
		close(x.closed)
		err = x.Listener.Close()
	})
	return err
}

// dial connects in memory.
func (x *exchange) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := pipe(x.Addr())
	if err := x.offer(ctx, server); err != nil {
		return nil, err
	}
	return client, nil
}

func (x *exchange) offer(ctx context.Context, conn net.Conn) error {
	select {
	case x.accepted <- conn:
		return nil
	case <-x.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pipe is a connection in memory. Unlike net.Pipe it has a buffer: a writer does not wait for its reader.
func pipe(addr net.Addr) (a, b net.Conn) {
	there, back := newStream(), newStream()
	return &end{addr: addr, in: back, out: there}, &end{addr: addr, in: there, out: back}
}

// end is one end of a pipe.
type end struct {
	addr    net.Addr
	in, out *byteStream
}

var _ net.Conn = (*end)(nil)

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }
func (e *end) LocalAddr() net.Addr         { return e.addr }
func (e *end) RemoteAddr() net.Addr        { return e.addr }

// Close ends both directions. What was written can still be read.
func (e *end) Close() error {
	e.out.close()
	e.in.close()
	return nil
}

func (e *end) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.in.setReadDeadline(t)
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.setWriteDeadline(t)
	return nil
}

const (
	streamFull = 1 << 20 // a writer waits while so many bytes are unread
	streamKept = 1 << 18 // an empty buffer that is larger is let go
)

// byteStream is one direction of a pipe, for one reader and one writer at a time.
type byteStream struct {
	readable, writable chan struct{} // capacity 1: wake the reader and the writer, so that they look again

	mu              sync.Mutex // guards the rest
	buf             []byte     // unread from next on
	next            int
	closed          bool
	readBy, writeBy time.Time
}

func newStream() *byteStream {
	return &byteStream{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

func (s *byteStream) read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		if s.next < len(s.buf) {
			full := len(s.buf)-s.next >= streamFull
			n := copy(p, s.buf[s.next:])
			s.next += n
			s.shrink()
			s.mu.Unlock()
			if full {
				wake(s.writable)
			}
			return n, nil
		}
		closed, by := s.closed, s.readBy
		s.mu.Unlock()
		if closed {
			return 0, io.EOF
		}
		if err := wait(s.readable, by); err != nil {
			return 0, err
		}
	}
}

// shrink begins the buffer anew once all of it is read.
func (s *byteStream) shrink() {
	if s.next < len(s.buf) {
		return
	}
	s.buf, s.next = s.buf[:0], 0
	if cap(s.buf) > streamKept {
		s.buf = nil
	}
}

// write takes all of p, or nothing of it. A stream that is nearly full takes it still: it is bounded by streamFull and one request.
func (s *byteStream) write(p []byte) (int, error) {
	for {
		s.mu.Lock()
		closed, by := s.closed, s.writeBy
		if !closed && len(s.buf)-s.next < streamFull {
			s.buf = append(s.buf, p...)
			s.mu.Unlock()
			wake(s.readable)
			return len(p), nil
		}
		s.mu.Unlock()
		if closed {
			return 0, io.ErrClosedPipe
		}
		if err := wait(s.writable, by); err != nil {
			return 0, err
		}
	}
}

func (s *byteStream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	wake(s.readable)
	wake(s.writable)
}

func (s *byteStream) setReadDeadline(t time.Time) {
	s.mu.Lock()
	s.readBy = t
	s.mu.Unlock()
	wake(s.readable)
}

func (s *byteStream) setWriteDeadline(t time.Time) {
	s.mu.Lock()
	s.writeBy = t
	s.mu.Unlock()
	wake(s.writable)
}

// wait returns when something may have changed, or with an error at the deadline.
func wait(changed <-chan struct{}, by time.Time) error {
	if by.IsZero() {
		<-changed
		return nil
	}
	left := time.Until(by)
	if left <= 0 {
		return os.ErrDeadlineExceeded
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.C:
		return os.ErrDeadlineExceeded
	}
}

func wake(waiting chan<- struct{}) {
	select {
	case waiting <- struct{}{}:
	default:
	}
}
