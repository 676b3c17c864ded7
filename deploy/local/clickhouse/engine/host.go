package engine

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

//go:embed host.py
var hostProgram string

// errGone says that the engine's process has ended.
var errGone = errors.New("the engine's process has ended")

// query is what the engine is to run, on a connection of its own.
type query struct {
	Setup  []string          // statements to run first: USE, SET
	Params map[string]string // values of {name:Type}, escaped as in TabSeparated
	Format string            // of the result, or of Data if Insert
	Insert bool              // Data is to be inserted by SQL, which has no FORMAT clause
	SQL    []byte
	Data   []byte
}

// result is the answer to a query.
type result struct {
	statistics
	Body []byte
}

type statistics struct {
	ReadRows     uint64 `json:"read_rows"`
	ReadBytes    uint64 `json:"read_bytes"`
	WrittenRows  uint64 `json:"written_rows"`
	WrittenBytes uint64 `json:"written_bytes"`
}

// host is the process that loads the engine: the library installs signal handlers and an allocator that a Go process cannot live with.
type host struct {
	cmd    *exec.Cmd
	stderr tail
	lines  []*line
	idle   chan *line
	ended  chan struct{}
}

// line carries one query at a time to the host.
type line struct {
	requests *os.File
	replies  *os.File
	in       *bufio.Reader
}

// startHost starts the host without waiting until the engine is ready: the first query does.
func startHost(library, data string, lines int) (*host, error) {
	h := &host{idle: make(chan *line, lines), ended: make(chan struct{})}
	// -I -S -B: no environment, no site packages, no byte code; the host needs the standard library only.
	h.cmd = exec.Command("python3", "-I", "-S", "-B", "-c", hostProgram, library, data, strconv.Itoa(lines)) //nolint:noctx // it ends with its pipes
	h.cmd.Stderr = &h.stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := h.connect(lines)
	if err == nil {
		started := make(chan error, 1)
		go h.run(started)
		err = <-started
	}
	for _, end := range h.cmd.ExtraFiles {
		end.Close() // the host has its own
	}
	if err != nil {
		h.disconnect()
		return nil, fmt.Errorf("starting the engine's host: %w", err)
	}
	return h, nil
}

// connect makes the pipes of the lines.
func (h *host) connect(lines int) error {
	for range lines {
		hostIn, requests, err := os.Pipe()
		if err != nil {
			return err
		}
		h.cmd.ExtraFiles = append(h.cmd.ExtraFiles, hostIn)
		replies, hostOut, err := os.Pipe()
		if err != nil {
			requests.Close()
			return err
		}
		h.cmd.ExtraFiles = append(h.cmd.ExtraFiles, hostOut)
		l := &line{requests: requests, replies: replies, in: bufio.NewReader(replies)}
		h.lines = append(h.lines, l)
		h.idle <- l
	}
	return nil
}

func (h *host) disconnect() {
	for _, l := range h.lines {
		l.requests.Close()
		l.replies.Close()
	}
}

// run starts the host and stays with it. The death signal is bound to the thread that started it, so this goroutine keeps its thread.
func (h *host) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := h.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = h.cmd.Wait() // whoever wants to know why reads stderr
	close(h.ended)
}

// do runs a query. The context bounds the wait for an idle line only: a query that has begun goes on, as a server's does when its client leaves.
// An error is an *exception of the engine, errGone, or the context's.
func (h *host) do(ctx context.Context, q query) (*result, error) {
	select {
	case l := <-h.idle:
		res, err := l.do(q)
		if err != nil && !errors.As(err, new(*exception)) {
			return nil, errors.Join(errGone, err)
		}
		h.idle <- l
		return res, err
	case <-h.ended:
		return nil, errGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *line) do(q query) (*result, error) {
	if err := l.ask(q); err != nil {
		return nil, err
	}
	return l.answer()
}

func (l *line) ask(q query) error {
	header, err := json.Marshal(struct {
		Setup  []string          `json:"setup"`
		Params map[string]string `json:"params"`
		Format string            `json:"format"`
		Insert bool              `json:"insert"`
		SQL    int               `json:"sql"`
		Data   int               `json:"data"`
	}{q.Setup, q.Params, q.Format, q.Insert, len(q.SQL), len(q.Data)})
	if err != nil {
		return err
	}
	for _, part := range [][]byte{binary.BigEndian.AppendUint32(nil, uint32(len(header))), header, q.SQL, q.Data} {
		if _, err := l.requests.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (l *line) answer() (*result, error) {
	var size [4]byte
	if _, err := io.ReadFull(l.in, size[:]); err != nil {
		return nil, err
	}
	header := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(l.in, header); err != nil {
		return nil, err
	}
	var reply struct {
		statistics
		Error string `json:"error"`
		Body  int    `json:"body"`
	}
	if err := json.Unmarshal(header, &reply); err != nil {
		return nil, err
	}
	if reply.Error != "" {
		return nil, parseException(reply.Error)
	}
	body := make([]byte, reply.Body)
	if _, err := io.ReadFull(l.in, body); err != nil {
		return nil, err
	}
	return &result{statistics: reply.statistics, Body: body}, nil
}

// stopTime is how long the engine may take to finish its running queries and close.
const stopTime = 30 * time.Second

// stop ends the host after its running queries; their answers are lost.
func (h *host) stop() error {
	h.disconnect()
	select {
	case <-h.ended:
	case <-time.After(stopTime):
		h.kill()
		return fmt.Errorf("the engine did not close within %s and was killed", stopTime)
	}
	if !h.cmd.ProcessState.Success() {
		return fmt.Errorf("the engine's host ended with %s: %s", h.cmd.ProcessState, h.stderr.text())
	}
	return nil
}

// kill ends the host at once and returns when it is dead.
func (h *host) kill() {
	_ = h.cmd.Process.Kill() // it may have ended already
	<-h.ended
	h.disconnect()
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	t.buf = t.buf[max(0, len(t.buf)-tailSize):]
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
