package process

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childVariable says what the test program does in place of testing.
const childVariable = "CRASHTEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "":
		os.Exit(m.Run())
	case "serve": // until SIGTERM
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Fprintln(os.Stderr, "starting")
		fmt.Fprintln(os.Stdout, "ready http://127.0.0.1:1 and more")
		<-stop
		os.Exit(0)
	case "fail":
		fmt.Fprintln(os.Stderr, "no disk")
		os.Exit(3)
	case "parent": // starts a child and waits to be killed
		p := childProcess(os.Args[len(os.Args)-1], "serve")
		if err := p.Start(); err != nil {
			os.Exit(1)
		}
		fmt.Fprintf(os.Stdout, "ready %d\n", p.life.cmd.Process.Pid)
		select {}
	}
}

func childProcess(log, what string) *Process {
	return New(Options{Name: what, Path: os.Args[0], Args: []string{log}, Env: []string{childVariable + "=" + what}, Log: log})
}

// startChild starts a child that is killed at the end of the test.
func startChild(t *testing.T, what string) *Process {
	t.Helper()
	p := childProcess(filepath.Join(t.TempDir(), "log"), what)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() }) // it may have ended
	return p
}

func ready(t *testing.T, p *Process) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url, err := p.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func TestProcessLives(t *testing.T) {
	p := startChild(t, "serve")
	if url := ready(t, p); url != "http://127.0.0.1:1" {
		t.Errorf("URL %q", url)
	}
	if err := p.Start(); err == nil {
		t.Error("started twice")
	}
	if err := p.Kill(); err != nil || p.Running() {
		t.Errorf("killed: %v, running %t", err, p.Running())
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ready(t, p)
	if err := p.Terminate(t.Context()); err != nil || p.Running() {
		t.Errorf("terminated: %v, running %t", err, p.Running())
	}
	for what, do := range map[string]func() error{"kill": p.Kill, "pause": p.Pause, "resume": p.Resume} {
		if do() == nil {
			t.Errorf("%s of what does not run is no error", what)
		}
	}
	log, err := os.ReadFile(p.o.Log)
	if err != nil || strings.Count(string(log), "starting") != 2 || strings.Count(string(log), "ready ") != 2 || !strings.Contains(string(log), "life 2") {
		t.Errorf("log: %v\n%s", err, log)
	}
	if p.Lives() != 2 {
		t.Errorf("%d lives", p.Lives())
	}
}

func TestProcessThatEndsByItself(t *testing.T) {
	p := startChild(t, "fail")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := p.Ready(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("ready: %v", err)
	}
}

// state is the kernel's letter for what a process does.
func state(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(data), ") ")
	return strings.Fields(after)[0]
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) { // the kernel's state: nothing to wait on
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in a minute", what)
		}
	}
}

func TestPauseAndResume(t *testing.T) {
	p := startChild(t, "serve")
	ready(t, p)
	pid := p.life.cmd.Process.Pid
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stopped", func() bool { return state(t, pid) == "T" })
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "going on", func() bool { return state(t, pid) != "T" })
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("killing a paused process: %v", err)
	}
}

// TestChildDiesWithItsParent: nothing is left behind when the attacking program itself is killed.
func TestChildDiesWithItsParent(t *testing.T) {
	parent := startChild(t, "parent")
	pid, err := strconv.Atoi(ready(t, parent))
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child's end", func() bool { s := state(t, pid); return s == "" || s == "Z" })
}
