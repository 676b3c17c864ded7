package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestPipeDeliversInOrder(t *testing.T) {
	a, b := pipe(&net.TCPAddr{})
	sent := make([]byte, 8<<20) // more than a stream holds
	random := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(random.Uint32())
	}
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(100_000))
			if _, err := a.Write(rest[:n]); err != nil {
				t.Error(err)
			}
			rest = rest[n:]
		}
		_ = a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes arrived of %d (%v)", len(got), len(sent), err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("writing to a closed pipe succeeded")
	}
}

func TestPipeObeysDeadlines(t *testing.T) {
	a, b := pipe(&net.TCPAddr{})
	full := make([]byte, streamBuffer)
	if _, err := a.Write(full); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 2)
	go func() {
		_, err := a.Write([]byte("x")) // waits: the stream is full
		errs <- err
	}()
	go func() {
		_, err := a.Read(make([]byte, 1))
		errs <- err
	}()
	if err := a.SetDeadline(time.Now()); err != nil { // while they wait, or before
		t.Fatal(err)
	}
	for range 2 {
		if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	}
	if err := a.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, full); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Errorf("after the deadline was taken back: %v", err)
	}
}

func TestPipeTellsHowMuchWasRead(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(a, b net.Conn) error
		want error
	}{
		{"at the deadline", func(a, _ net.Conn) error { return a.SetWriteDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		{"when the reader has gone", func(_, b net.Conn) error { return b.Close() }, io.ErrClosedPipe},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := pipe(&net.TCPAddr{})
			type result struct {
				n   int
				err error
			}
			wrote := make(chan result, 1)
			go func() {
				n, err := a.Write(make([]byte, 3*streamBuffer))
				wrote <- result{n, err}
			}()
			if _, err := io.ReadFull(b, make([]byte, 2*streamBuffer)); err != nil {
				t.Fatal(err)
			}
			if err := tc.end(a, b); err != nil {
				t.Fatal(err)
			}
			if got := <-wrote; got.n != 2*streamBuffer || !errors.Is(got.err, tc.want) {
				t.Errorf("wrote %d (%v), want %d (%v)", got.n, got.err, 2*streamBuffer, tc.want)
			}
		})
	}
}

func BenchmarkPipe(b *testing.B) {
	for _, size := range []int{200, 64 << 10, 1 << 20} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			from, to := pipe(&net.TCPAddr{})
			sent := make([]byte, size)
			go func() {
				for err := error(nil); err == nil; {
					_, err = from.Write(sent)
				}
			}()
			got := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.ReadFull(to, got); err != nil {
					b.Fatal(err)
				}
			}
			_ = to.Close()
		})
	}
}

func TestFramedRefusesWhatIsNoRequest(t *testing.T) {
	frame := func(size uint32, body int) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), make([]byte, body)...)
	}
	requests := slices.Concat(frame(5, 5), frame(0, 0), frame(70_000, 70_000))
	for _, tc := range []struct {
		name string
		sent []byte
		fine int // bytes that must arrive; an error follows if there are more
	}{
		{"requests", requests, len(requests)},
		{"the largest request", frame(requestBytes, 10), 14},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), 0},
		{"a request that is too large", slices.Concat(requests, frame(requestBytes+1, 0)), len(requests)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, step := range []int{1, 3, 4} { // no step holds the end of one request and all of the next one's size
				f := new(framed)
				got := 0
				for part := range slices.Chunk(tc.sent, step) {
					if _, ok := f.follow(part); !ok {
						break
					}
					got += len(part)
				}
				if got < tc.fine || (got < len(tc.sent)) != (tc.fine < len(tc.sent)) {
					t.Errorf("in steps of %d: %d bytes of %d, want %d", step, got, len(tc.sent), tc.fine)
				}
			}
		})
	}
}

func TestExchangeRefusesHTTP(t *testing.T) {
	x, err := listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", x.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := x.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(server, make([]byte, 4)); err == nil {
		t.Errorf("%d bytes of it were read", n)
	}
}

func TestExchangeAcceptsBothKinds(t *testing.T) {
	x, err := listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, dial := range []func() (net.Conn, error){
		func() (net.Conn, error) { return net.Dial("tcp", x.Addr().String()) },
		func() (net.Conn, error) { return x.dial(context.Background(), "", "") },
	} {
		dialled := make(chan net.Conn, 1)
		go func() {
			client, err := dial()
			if err != nil {
				t.Error(err)
			}
			dialled <- client
		}()
		server, err := x.Accept()
		if err != nil {
			t.Fatal(err)
		}
		client := <-dialled
		const ping = "\x00\x00\x00\x04ping" // as requests are framed
		if _, err := client.Write([]byte(ping)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(ping))
		if _, err := io.ReadFull(server, got); err != nil || string(got) != ping {
			t.Errorf("%q (%v)", got, err)
		}
		if err := errors.Join(client.Close(), server.Close()); err != nil {
			t.Error(err)
		}
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if _, err := x.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepting after the end: %v", err)
	}
	if _, err := x.dial(context.Background(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dialling after the end: %v", err)
	}
}
