// Package run is what every system test begins and ends with: its flags, a directory, lines of progress, a result.
package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Flags are the flags of every system test.
type Flags struct {
	Sluice string `help:"The program to test." default:"bin/sluice"`
	Dir    string `help:"Directory for data and logs, kept; empty makes one that is removed if all is well."`
	Out    string `help:"Append the result as a JSON line to this file."`
	Seed   uint64 `help:"Of everything that is drawn; 0 makes one."`
}

// SayFunc prints a line of progress.
type SayFunc func(format string, args ...any)

// Result is what a run found.
type Result interface {
	// Wrong tells whether a promise is broken.
	Wrong() bool
}

// ErrWrong is that a run came to its end and found a broken promise.
var ErrWrong = errors.New("something is wrong; see the result")

// Do makes a directory and a seed where the flags name none, runs the test and reports its result. The error is ErrWrong if the result is wrong.
func (f *Flags) Do(ctx context.Context, test func(ctx context.Context, say SayFunc) (Result, error)) (err error) {
	if f.Seed == 0 {
		f.Seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	dir, done, err := directory(f.Dir)
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	f.Dir = dir
	say := Progress(os.Stderr)
	say("seed %d, directory %s", f.Seed, f.Dir)
	result, err := test(ctx, say)
	if err != nil {
		return err
	}
	if err := Report(f.Out, result); err != nil {
		return err
	}
	if result.Wrong() {
		return ErrWrong
	}
	return nil
}

// directory makes sure that the directory is there; an empty name makes a new one. done removes a new one if all is well.
func directory(name string) (dir string, done func(err error) error, err error) {
	if name != "" {
		return name, func(err error) error { return err }, os.MkdirAll(name, 0o700)
	}
	if dir, err = os.MkdirTemp("", "sluice-systemtest-"); err != nil {
		return "", nil, err
	}
	return dir, func(err error) error {
		if err != nil {
			return fmt.Errorf("%w; data and logs are in %s", err, dir)
		}
		return os.RemoveAll(dir)
	}, nil
}

// Progress prints lines with the time since now before them.
func Progress(w io.Writer) SayFunc {
	began := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(w, "%7.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}
