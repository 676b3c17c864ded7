package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
		if x.offer(context.Background(), &framed{Conn: conn}) != nil {
			_ = conn.Close() // nobody has heard of it
		}
	}
}

// requestBytes bounds a request. The broker makes room for as many bytes as a request's first four say; those of an HTTP request ("GET ") say a gigabyte.
const requestBytes = 128 << 20

// framed is a connection from another process. It fails once a request says that it is too large.
type framed struct {
	net.Conn

	head [4]byte // of a request: its size
	had  int     // bytes of head that were read
	left int     // bytes of the request that were not
}

func (f *framed) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if size, ok := f.follow(p[:n]); !ok {
		return 0, fmt.Errorf("a request must have at most %d bytes: this one has %d", requestBytes, size)
	}
	return n, err
}

// follow keeps track of where requests begin. It returns the size of one that is too large.
func (f *framed) follow(data []byte) (size uint32, ok bool) {
	for len(data) > 0 {
		skip := min(f.left, len(data))
		f.left, data = f.left-skip, data[skip:]
		if f.left > 0 {
			break
		}
		got := copy(f.head[f.had:], data)
		f.had, data = f.had+got, data[got:]
		if f.had < len(f.head) {
			break
		}
		if size = binary.BigEndian.Uint32(f.head[:]); size > requestBytes {
			return size, false
		}
		f.left, f.had = int(size), 0
	}
	return 0, true
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

// pipe is a connection in memory. Unlike net.Pipe it has a small buffer: who writes little does not wait for its reader.
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

// streamBuffer is how many unread bytes a stream keeps. What does not fit is read from the writer's own memory, while it waits: fetched batches are large, and a
// copy of each would be grown and dropped.
const streamBuffer = 32 << 10

// byteStream is one direction of a pipe, for one reader and one writer at a time.
type byteStream struct {
	readable, writable chan struct{} // capacity 1: wake the reader and the writer, so that they look again

	mu              sync.Mutex // guards the rest
	buf             []byte     // unread from next on
	next            int
	lent            []byte // unread after buf, of a writer that waits
	closed          bool
	readBy, writeBy time.Time
}

func newStream() *byteStream {
	return &byteStream{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

func (s *byteStream) read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		if n := s.take(p); n > 0 || len(p) == 0 {
			s.mu.Unlock()
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

// take reads what there is. The writer is woken once all that it has lent is read.
func (s *byteStream) take(p []byte) int {
	n := copy(p, s.buf[s.next:])
	if s.next += n; s.next == len(s.buf) {
		s.buf, s.next = s.buf[:0], 0
	}
	if len(s.lent) == 0 || s.next < len(s.buf) {
		return n
	}
	more := copy(p[n:], s.lent)
	if s.lent = s.lent[more:]; len(s.lent) == 0 {
		s.lent = nil
		wake(s.writable)
	}
	return n + more
}

// write puts p into the buffer, or lends it to the reader until all of it is read.
func (s *byteStream) write(p []byte) (int, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	if s.put(p) {
		s.mu.Unlock()
		wake(s.readable)
		return len(p), nil
	}
	s.lent = p
	s.mu.Unlock()
	wake(s.readable)
	for {
		s.mu.Lock()
		left, closed, by := len(s.lent), s.closed, s.writeBy
		s.mu.Unlock()
		if left == 0 {
			return len(p), nil
		}
		if closed {
			return s.takeBack(p), io.ErrClosedPipe
		}
		if err := wait(s.writable, by); err != nil {
			return s.takeBack(p), err
		}
	}
}

// put appends p to the buffer if it fits.
func (s *byteStream) put(p []byte) bool {
	if len(s.buf)-s.next+len(p) > streamBuffer {
		return false
	}
	if s.next > 0 {
		s.buf, s.next = append(s.buf[:0], s.buf[s.next:]...), 0
	}
	s.buf = append(s.buf, p...)
	return true
}

// takeBack ends the loan of p, and tells how much of it was read.
func (s *byteStream) takeBack(p []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p) - len(s.lent)
	s.lent = nil
	return n
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
