// Command testlog reads what `go test -json` wrote: it prints the output of the tests and packages that failed, or with -count the number of tests
// that passed.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// event is one line of `go test -json`.
type event struct {
	Action, Package, Test, Output, ImportPath string
}

type test struct{ pkg, name string }

func main() {
	count := flag.Bool("count", false, "print how many tests passed")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *count); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, count bool) error {
	passed := 0
	output := make(map[test][]string)
	lines := json.NewDecoder(in)
	for {
		var e event
		err := lines.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("not the output of go test -json: %w", err)
		}
		at := test{e.Package + e.ImportPath, e.Test}
		switch e.Action {
		case "output", "build-output":
			output[at] = append(output[at], e.Output)
		case "pass":
			if e.Test != "" {
				passed++
			}
			delete(output, at)
		case "skip":
			delete(output, at)
		case "fail", "build-fail":
			for _, line := range output[at] {
				fmt.Fprint(out, line)
			}
			delete(output, at)
		}
	}
	if count {
		fmt.Fprintln(out, passed)
	}
	return nil
}
