package fault

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// echo answers every line with itself.
func echo(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

func startProxy(t *testing.T) *Proxy {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	target := echo(t)
	p, err := NewProxy("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.SetTarget(target)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// line is a client that sends lines.
type line struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, p *Proxy) *line {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &line{t, c, bufio.NewReader(c)}
}

// say sends a line and returns the answer.
func (l *line) say(text string, patience time.Duration) (string, error) {
	_ = l.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(l, text+"\n"); err != nil {
		return "", err
	}
	return l.hear(patience)
}

func (l *line) hear(patience time.Duration) (string, error) {
	_ = l.SetDeadline(time.Now().Add(patience))
	return l.lines.ReadString('\n')
}

func (l *line) works() {
	l.t.Helper()
	if got, err := l.say("hello", time.Minute); err != nil || got != "hello\n" {
		l.t.Fatalf("%q, %v", got, err)
	}
}

// refused looks whether a new connection is reset, while it is made or after.
func refused(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return
	}
	defer c.Close()
	if _, err := (&line{t, c, bufio.NewReader(c)}).say("hello", time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection: %v", err)
	}
}

func TestProxyCuts(t *testing.T) {
	p := startProxy(t)
	c := dial(t, p)
	c.works()
	if n := p.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	p.Cut()
	if _, err := c.say("hello", time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a cut: %v", err)
	}
	dial(t, p).works()
}

func TestProxyRefuses(t *testing.T) {
	p := startProxy(t)
	old := dial(t, p)
	old.works()
	p.Refuse(true)
	if _, err := old.say("hello", time.Minute); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("old connection: %v", err)
	}
	refused(t, p)
	p.Refuse(false)
	dial(t, p).works()
}

// TestProxyStalls: while it stalls nothing passes and nothing is lost; then what waited goes on, on old connections and new ones.
func TestProxyStalls(t *testing.T) {
	p := startProxy(t)
	old := dial(t, p)
	old.works()
	p.Stall(true)
	p.Stall(true) // again changes nothing
	fresh := dial(t, p)
	for _, c := range []*line{old, fresh} {
		if _, err := c.say("patience", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an answer through a stalled proxy: %v", err)
		}
	}
	p.Stall(false)
	for _, c := range []*line{old, fresh} {
		if got, err := c.hear(time.Minute); err != nil || got != "patience\n" {
			t.Errorf("after the stall: %q, %v", got, err)
		}
	}
}

func TestProxyDelays(t *testing.T) {
	p := startProxy(t)
	c := dial(t, p)
	c.works()
	const late = 60 * time.Millisecond
	p.Delay(late)
	began := time.Now()
	c.works()
	if took := time.Since(began); took < 2*late {
		t.Errorf("there and back took %v", took)
	}
	p.Heal()
	c.works()
}

func TestProxyWithoutATarget(t *testing.T) {
	p := startProxy(t)
	for _, target := range []string{"", "127.0.0.1:1"} {
		p.SetTarget(target)
		refused(t, p)
	}
}

// TestProxyUnderEverything disturbs a busy proxy in all ways at once: for the race detector, and for goroutines that stay behind.
func TestProxyUnderEverything(t *testing.T) {
	p := startProxy(t)
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if c, err := net.Dial("tcp", p.Addr()); err == nil {
					_, _ = (&line{t, c, bufio.NewReader(c)}).say("hello", 20*time.Millisecond)
					c.Close()
				}
			}
		})
	}
	for range 20 {
		p.Stall(true)
		p.Delay(time.Millisecond)
		p.Cut()
		p.Stall(false)
		p.Refuse(true)
		p.Heal()
	}
	close(end)
	wg.Wait()
	p.Stall(true) // closing does not wait for it
}
