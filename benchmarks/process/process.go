// Package process starts the program that a benchmark measures, and reads what it costs from /proc.
package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is a running server.
type Server struct {
	URL string

	cmd *exec.Cmd
}

// Demo starts the demo of the given program on a free port, without a shop and with its data in dir, and returns when it is ready.
func Demo(ctx context.Context, binary, dir string, args ...string) (*Server, error) {
	return Start(ctx, binary, append([]string{"demo", "--listen", "127.0.0.1:0", "--data", dir, "--shop", "none", "--shoppers", "0"}, args...)...)
}

// Start starts a server and returns when it is ready.
func Start(ctx context.Context, binary string, args ...string) (*Server, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "ready" {
			go func() {
				for lines.Scan() { // drained so that the server never blocks on its output
				}
			}()
			return &Server{cmd: cmd, URL: fields[1]}, nil
		}
	}
	return nil, errors.Join(errors.New("the server ended before it was ready"), cmd.Wait())
}

// Stop asks the process to stop and waits for it.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
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

// CPU is the user and system time that the process has used.
func (s *Server) CPU() time.Duration { return CPU(s.cmd.Process.Pid) }

// CPU is the user and system time that the process with the number has used, 0 if there is none.
func CPU(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const ticksPerSecond = 100
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// Memory is the present and the peak resident size in megabytes.
func (s *Server) Memory() (now, peak float64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kilobytes / 1000
		case "VmHWM:":
			peak = kilobytes / 1000
		}
	}
	return now, peak
}

// DiskUsage is the size of all files below dir, in bytes.
func DiskUsage(dir string) (bytes float64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // files come and go while the server runs
		}
		if info, err := e.Info(); err == nil {
			bytes += float64(info.Size())
		}
		return nil
	})
	return bytes
}

// Report prints a result as JSON, and appends it as one line to the file at path, if one is given.
func Report(path string, result any) error {
	data, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, string(data))
	if path == "" {
		return nil
	}
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// Machine says what the benchmark ran on.
func Machine() string {
	return fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
}

// Commit is the short name of the checked-out commit.
func Commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
