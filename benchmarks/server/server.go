// Package server starts the program that a benchmark measures.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sluice/internal/process"
)

// Server is a running server. It is restarted by Terminate, or Kill, and Begin.
type Server struct {
	*process.Process
	URL string // of its present life
}

// readyTime bounds how long a server may take to be ready.
const readyTime = 10 * time.Minute

// Demo starts the demo of the given program on a free port, without a shop and with its data in dir, and returns when it is ready.
func Demo(ctx context.Context, binary, dir string, args ...string) (*Server, error) {
	return Start(ctx, binary, dir, append([]string{"demo", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"), "--shop", "none", "--shoppers", "0"}, args...)...)
}

// Start starts a server, which logs into dir, and returns when it is ready.
func Start(ctx context.Context, binary, dir string, args ...string) (*Server, error) {
	s := &Server{Process: process.New(process.Options{Name: "sluice", Path: binary, Args: args, Log: filepath.Join(dir, "sluice.log")})}
	return s, s.Begin(ctx)
}

// Begin starts the server and returns when it is ready.
func (s *Server) Begin(ctx context.Context) (err error) {
	if err := s.Process.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	s.URL, err = s.Ready(ctx)
	return err
}

// stopTime bounds how long a server may take to stop.
const stopTime = time.Minute

// Stop asks the server to stop and waits until it has. One that does not is killed, and that is an error.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := s.Terminate(ctx)
	if err != nil && s.Running() {
		err = errors.Join(err, s.Kill())
	}
	return err
}

// Profile writes a CPU profile of the next seconds to a file.
func (s *Server) Profile(ctx context.Context, seconds int, path string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.URL, seconds), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer demo_operator")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("profiling: %s", answer.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, answer.Body)
	return errors.Join(err, file.Close())
}

// CPU is the user and system time that the server's present life has used.
func (s *Server) CPU() time.Duration { return process.CPU(s.PID()) }

// Memory is the present and the peak resident size in megabytes.
func (s *Server) Memory() (now, peak float64) { return process.Memory(s.PID()) }
