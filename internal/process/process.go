// Package process starts a program, kills, pauses and restarts it, and reads what it costs.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// Options say what a process is.
type Options struct {
	Name string   // in errors and in the log
	Path string   // of the program
	Args []string // without the program's own name
	Env  []string // beside the environment of this process
	Log  string   // file that gets standard output and error of all its lives, one after another
}

// Process is a command that is started under one name again and again. When this process ends, however it ends, so does the command.
// It is safe for concurrent use.
type Process struct {
	o Options

	mu   sync.Mutex // guards what follows
	life *life      // the present or the last one; nil before the first
	n    int        // lives so far
}

// life is one run of the command.
type life struct {
	cmd   *exec.Cmd
	url   string        // from the ready line; written before ready is closed
	ready chan struct{} // closed at the ready line
	ended chan struct{} // closed when the command has ended
}

// errRunning and errNotRunning are misuse of a process.
var (
	errRunning    = errors.New("it runs already")
	errNotRunning = errors.New("it does not run")
)

// New makes a process that does not run yet.
func New(o Options) *Process { return &Process{o: o} }

// Name is the process's name.
func (p *Process) Name() string { return p.o.Name }

// Start starts the command. It must not run.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != nil && !p.life.over() {
		return p.failed("starting", errRunning)
	}
	log, err := os.OpenFile(p.o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return p.failed("starting", err)
	}
	p.n++
	fmt.Fprintf(log, "--- life %d of %s\n", p.n, p.o.Name)
	cmd := exec.Command(p.o.Path, p.o.Args...) //nolint:noctx // it ends by a signal, on purpose
	cmd.Env = append(os.Environ(), p.o.Env...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	l := &life{cmd: cmd, ready: make(chan struct{}), ended: make(chan struct{})}
	started := make(chan error, 1)
	go l.run(log, started)
	if err := <-started; err != nil {
		return p.failed("starting", err)
	}
	p.life = l
	return nil
}

// run starts the command and stays with it. The death signal is bound to the thread that started the command, so this goroutine keeps its thread.
func (l *life) run(log *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer log.Close()
	defer close(l.ended)
	out, err := l.cmd.StdoutPipe()
	if err == nil {
		err = l.cmd.Start()
	}
	started <- err
	if err != nil {
		return
	}
	l.read(io.TeeReader(out, log))
	_ = l.cmd.Wait() // the state tells
}

// read looks for the line "ready URL …" and drains the rest, so that the command never waits for its reader.
func (l *life) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "ready" && l.url == "" {
			l.url = fields[1]
			close(l.ready)
		}
	}
	_, _ = io.Copy(io.Discard, out) // a line too long for the scanner; the process may have ended
}

func (l *life) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// present is the running life.
func (p *Process) present(what string) (*life, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil || p.life.over() {
		return nil, p.failed(what, errNotRunning)
	}
	return p.life, nil
}

func (p *Process) failed(what string, err error) error {
	return fmt.Errorf("%s %s: %w; its log is %s", what, p.o.Name, err, p.o.Log)
}

// Ready waits until the command has printed "ready URL" on standard output, and returns the URL. It is an error if the command ends before.
func (p *Process) Ready(ctx context.Context) (url string, err error) {
	l, err := p.present("waiting for")
	if err != nil {
		return "", err
	}
	select {
	case <-l.ready:
		return l.url, nil
	case <-l.ended:
		return "", p.failed("waiting for", fmt.Errorf("it ended before it was ready: %v", l.cmd.ProcessState))
	case <-ctx.Done():
		return "", p.failed("waiting for", ctx.Err())
	}
}

// Kill ends the command with SIGKILL and waits until it is gone. It works on a paused one, too.
func (p *Process) Kill() error {
	l, err := p.present("killing")
	if err != nil {
		return err
	}
	if err := l.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return p.failed("killing", err)
	}
	<-l.ended
	return nil
}

// Terminate asks the command to end (SIGTERM), waits until it has, and tells whether it ended well: exit code 0.
func (p *Process) Terminate(ctx context.Context) error {
	l, err := p.present("terminating")
	if err != nil {
		return err
	}
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return p.failed("terminating", err)
	}
	select {
	case <-l.ended:
	case <-ctx.Done():
		return p.failed("terminating", ctx.Err())
	}
	if !l.cmd.ProcessState.Success() {
		return p.failed("terminating", fmt.Errorf("it ended with %v", l.cmd.ProcessState))
	}
	return nil
}

// Pause stops the command where it is (SIGSTOP), until Resume. Its connections stay open, and nobody answers on them.
func (p *Process) Pause() error { return p.signal("pausing", syscall.SIGSTOP) }

// Resume lets a paused command go on (SIGCONT).
func (p *Process) Resume() error { return p.signal("resuming", syscall.SIGCONT) }

func (p *Process) signal(what string, s syscall.Signal) error {
	l, err := p.present(what)
	if err != nil {
		return err
	}
	if err := l.cmd.Process.Signal(s); err != nil {
		return p.failed(what, err)
	}
	return nil
}

// Running tells whether the command runs, also while it is paused.
func (p *Process) Running() bool {
	_, err := p.present("")
	return err == nil
}

// PID is the number of the running command, 0 if there is none: for measuring what it uses.
func (p *Process) PID() int {
	l, err := p.present("")
	if err != nil {
		return 0
	}
	return l.cmd.Process.Pid
}

// Lives is how often it was started.
func (p *Process) Lives() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}
