package broker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
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
		if _, err := client.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(server, got); err != nil || string(got) != "ping" {
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
